#pragma once
// A doubly linked list whose links live in its members: nothing is allocated, a member leaves from anywhere
// in constant time, and a member's place and its state cannot disagree. Pure.

#include <cstddef>

namespace pgmend::pool {

template <class T>
class intrusive_list;

/// Base of what stands in an intrusive_list<T>.
template <class T>
class list_node {
public:
    list_node() = default;
    list_node(const list_node&) = delete;
    list_node& operator=(const list_node&) = delete;
    bool linked() const noexcept { return list_ != nullptr; }
    const intrusive_list<T>* list() const noexcept { return list_; }

protected:
    ~list_node() = default;

private:
    friend class intrusive_list<T>;
    intrusive_list<T>* list_ = nullptr;
    T* previous_ = nullptr;
    T* next_ = nullptr;
};

template <class T>
class intrusive_list {
public:
    intrusive_list() = default;
    intrusive_list(const intrusive_list&) = delete;
    intrusive_list& operator=(const intrusive_list&) = delete;

    bool empty() const noexcept { return first_ == nullptr; }
    std::size_t size() const noexcept { return size_; }
    T* front() const noexcept { return first_; }
    T* back() const noexcept { return last_; }
    static T* next(const T& member) noexcept { return static_cast<const list_node<T>&>(member).next_; }
    static T* previous(const T& member) noexcept {
        return static_cast<const list_node<T>&>(member).previous_;
    }

    void push_back(T& member) noexcept {
        list_node<T>& node = member;
        node.list_ = this;
        node.previous_ = last_;
        node.next_ = nullptr;
        (last_ != nullptr ? static_cast<list_node<T>*>(last_)->next_ : first_) = &member;
        last_ = &member;
        ++size_;
    }
    /// Does nothing when `member` is in no list.
    static void remove(T& member) noexcept {
        list_node<T>& node = member;
        if (node.list_ == nullptr) return;
        intrusive_list& list = *node.list_;
        (node.previous_ != nullptr ? static_cast<list_node<T>*>(node.previous_)->next_ : list.first_) =
            node.next_;
        (node.next_ != nullptr ? static_cast<list_node<T>*>(node.next_)->previous_ : list.last_) =
            node.previous_;
        node.list_ = nullptr;
        node.previous_ = node.next_ = nullptr;
        --list.size_;
    }

private:
    T* first_ = nullptr;
    T* last_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace pgmend::pool
