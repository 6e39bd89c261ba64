#pragma once
// A lazily started coroutine for sequential work: logins, opening servers. Awaiting transfers control both
// ways without recursion; frames are recycled per thread. An exception inside terminates: the data path has
// none (C6).

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>

namespace pgmend::pool {

namespace detail {

/// Coroutine frames by size class, kept per thread up to a bound; larger frames come from the heap.
void* allocate_frame(std::size_t size);
void release_frame(void* frame, std::size_t size) noexcept;

struct promise_base {
    std::coroutine_handle<> continuation;

    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, std::size_t size) noexcept { release_frame(frame, size); }

    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> done) noexcept {
            const auto next = done.promise().continuation;
            return next ? next : std::noop_coroutine();
        }
        void await_resume() const noexcept {}
    };
    std::suspend_always initial_suspend() const noexcept { return {}; }
    final_awaiter final_suspend() const noexcept { return {}; }
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] task {
public:
    struct promise_type : detail::promise_base {
        std::optional<T> value;
        task get_return_object() noexcept {
            return task{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        template <class U>
        void return_value(U&& result) {
            value.emplace(std::forward<U>(result));
        }
    };

    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    task& operator=(task&&) = delete;
    ~task() {
        if (frame_) frame_.destroy();
    }

    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) noexcept {
        frame_.promise().continuation = waiter;
        return frame_;
    }
    T await_resume() { return std::move(*frame_.promise().value); }

private:
    explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    std::coroutine_handle<promise_type> frame_;
};

template <>
class [[nodiscard]] task<void> {
public:
    struct promise_type : detail::promise_base {
        task get_return_object() noexcept {
            return task{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        void return_void() const noexcept {}
    };

    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    task& operator=(task&&) = delete;
    ~task() {
        if (frame_) frame_.destroy();
    }

    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) noexcept {
        frame_.promise().continuation = waiter;
        return frame_;
    }
    void await_resume() const noexcept {}

private:
    explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    std::coroutine_handle<promise_type> frame_;
};

/// A coroutine nobody awaits: it starts at once and its frame frees itself when it ends. Whoever starts one
/// must know when it ends (the last statement of a session tells its worker).
struct detached {
    struct promise_type {
        static void* operator new(std::size_t size) { return detail::allocate_frame(size); }
        static void operator delete(void* frame, std::size_t size) noexcept {
            detail::release_frame(frame, size);
        }
        detached get_return_object() const noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
    };
};

}  // namespace pgmend::pool
