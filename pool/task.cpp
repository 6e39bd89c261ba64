#include "pool/task.hpp"

#include <array>
#include <new>

namespace pgmend::pool::detail {

namespace {

constexpr std::size_t class_bytes = 32;      // an idle session's own is below a hundred
constexpr std::size_t class_count = 64;      // frames up to 2 KiB are recycled
constexpr std::size_t kept_per_class = 256;  // and at most this many of each size are kept

struct free_frame {
    free_frame* next;
};

/// What this thread keeps; emptied when the thread ends.
struct frame_cache {
    std::array<free_frame*, class_count> first{};
    std::array<std::size_t, class_count> kept{};

    ~frame_cache() {
        for (free_frame* frame : first) {
            while (frame != nullptr) {
                free_frame* next = frame->next;
                ::operator delete(frame);
                frame = next;
            }
        }
    }
};

thread_local frame_cache cache;

std::size_t class_of(std::size_t size) noexcept { return (size - 1) / class_bytes; }

}  // namespace

void* allocate_frame(std::size_t size) {
    const std::size_t index = class_of(size);
    if (index >= class_count) return ::operator new(size);
    if (free_frame* frame = cache.first[index]) {
        cache.first[index] = frame->next;
        --cache.kept[index];
        return frame;
    }
    return ::operator new((index + 1) * class_bytes);
}

void release_frame(void* frame, std::size_t size) noexcept {
    const std::size_t index = class_of(size);
    if (index >= class_count || cache.kept[index] == kept_per_class) {
        ::operator delete(frame);
        return;
    }
    auto* free = static_cast<free_frame*>(frame);
    free->next = cache.first[index];
    cache.first[index] = free;
    ++cache.kept[index];
}

}  // namespace pgmend::pool::detail
