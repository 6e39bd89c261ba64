#include "protocol/hash.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pgmend::protocol {

hash128 hash_bytes(byte_view bytes, std::uint64_t seed) noexcept {
    const XXH128_hash_t hash = XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed);
    return {hash.low64, hash.high64};
}

}  // namespace pgmend::protocol
