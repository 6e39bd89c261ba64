// What the program frees is wiped first: strings, vectors and coroutine frames that have held a password or a
// key leave none behind, wherever a copy was made of it, in libraries of C++ too. A query allocates nothing,
// so this costs logins and reloads alone, some hundred bytes at a time. Linked into the program and nothing
// else: sanitizers have an allocator of their own.

#include <malloc.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

void wipe_and_free(void* block, std::size_t size) noexcept {
    ::explicit_bzero(block, size);
    std::free(block);
}

}  // namespace

// A block whose size the caller does not know was taken by the same malloc. `delete nullptr` is allowed.
void operator delete(void* block) noexcept {
    if (block != nullptr) wipe_and_free(block, ::malloc_usable_size(block));
}

void operator delete(void* block, std::size_t size) noexcept {
    if (block != nullptr) wipe_and_free(block, size);
}

void operator delete[](void* block) noexcept {
    if (block != nullptr) wipe_and_free(block, ::malloc_usable_size(block));
}

void operator delete[](void* block, std::size_t size) noexcept {
    if (block != nullptr) wipe_and_free(block, size);
}
