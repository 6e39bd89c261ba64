#pragma once
// One setting with its type. Reading is a plain load: `settings.pool.size()` gives the value, by value for
// small types and by reference for text and lists. How a type is read and printed is in `codec<T>`.

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "config/api_urls.hpp"
#include "config/auth_requirement.hpp"
#include "config/auto_values.hpp"
#include "config/certificates.hpp"
#include "config/connection_url.hpp"
#include "config/hba_rules.hpp"
#include "config/limit_rules.hpp"
#include "config/modes.hpp"
#include "config/pool_rules.hpp"
#include "config/registry.hpp"
#include "config/units.hpp"
#include "config/upstreams.hpp"

namespace pgmend::config {

/// Both ends belong to the range.
template <class T>
struct range {
    T lowest;
    T highest;
};

/// A range in literals of any convenient type: `between(1ms, 5min)`.
template <class Low, class High>
class between {
public:
    constexpr between(Low low, High high) : low_(low), high_(high) {}
    template <class T>
    constexpr operator range<T>() const {
        return range<T>{static_cast<T>(low_), static_cast<T>(high_)};
    }

private:
    Low low_;
    High high_;
};

template <class T>
struct codec;

/// Types whose values have an order a range can be checked against.
template <class T>
inline constexpr bool is_ranged =
    std::is_integral_v<T> || std::is_same_v<T, milliseconds> || std::is_same_v<T, byte_size>;

template <class T>
class setting final : public setting_base {
public:
    using view = std::conditional_t<std::is_trivially_copyable_v<T>, T, const T&>;

    setting(
        section* parent, std::string_view key, T initial, range<T> allowed, reload_class reload,
        std::string_view doc
    ) requires is_ranged<T> : setting_base(parent, key, reload, doc, secrecy::plain),
                              value_(initial),
                              default_(initial),
                              lowest_(allowed.lowest),
                              highest_(allowed.highest) {}

    setting(
        section* parent, std::string_view key, T initial, reload_class reload, std::string_view doc,
        secrecy kept = secrecy::plain
    ) requires(!is_ranged<T>)
        : setting_base(parent, key, reload, doc, kept), value_(initial), default_(std::move(initial)) {}

    view operator()() const noexcept { return value_; }

    /// For whoever builds a snapshot in code (the connection URL, tests). The range is the caller's business.
    void set(T value, value_source source = value_source::built_in) {
        value_ = std::move(value);
        set_source(source);
    }

    bool read(const document_node& node, value_source source, problems& found) override {
        T value{};
        if constexpr (codec<T>::structured || codec<T>::list) {
            if (!codec<T>::read(node, key(), value, found)) return false;
        } else {
            if (node.kind != node_kind::scalar) return refuse(node, not_scalar(node.kind), found);
            auto result = codec<T>::parse(node.text);
            if (!result.value) return refuse(node, quoted(node.text) + result.problem, found);
            if constexpr (is_ranged<T>) {
                if (*result.value < codec<T>::wide(lowest_) || codec<T>::wide(highest_) < *result.value)
                    return refuse(node, quoted(node.text) + "is out of range", found);
                value = codec<T>::narrow(*result.value);
            } else {
                value = std::move(*result.value);
            }
        }
        set(std::move(value), source);
        return true;
    }

    bool same_value(const setting_base& other) const override {
        return value_ == static_cast<const setting&>(other).value_;
    }
    void take(const setting_base& other) override {
        set(static_cast<const setting&>(other).value_, other.source());
    }

    std::string shown() const override { return show(value_); }
    std::string shown_default() const override { return show(default_); }
    bool structured() const noexcept override { return codec<T>::structured; }

    std::string allowed() const override {
        if constexpr (is_ranged<T>) {
            return std::string(codec<T>::kind) + " " + codec<T>::print(lowest_) + ".." +
                   codec<T>::print(highest_);
        } else {
            return codec<T>::allowed();
        }
    }

private:
    static std::string not_scalar(node_kind kind) {
        return kind == node_kind::null ? "has no value" : "must be a single value, not a list or a mapping";
    }
    std::string quoted(const std::string& text) const {
        return (secret() ? std::string(redacted) : "'" + text + "'") + " ";
    }
    bool refuse(const document_node& node, std::string text, problems& found) const {
        found.push_back({node.at, std::string(key()), std::move(text) + "; allowed: " + allowed()});
        return false;
    }
    std::string show(const T& value) const {
        std::string text = codec<T>::print(value);
        return secret() && !codec<T>::redacts && !text.empty() ? std::string(redacted) : text;
    }

    struct no_limit {};
    T value_;
    T default_;
    [[no_unique_address]] std::conditional_t<is_ranged<T>, T, no_limit> lowest_{};
    [[no_unique_address]] std::conditional_t<is_ranged<T>, T, no_limit> highest_{};
};

/// `list`: reads a sequence too. `structured`: has no one-line form. `redacts`: `print` hides secrets itself.
struct scalar_codec {
    static constexpr bool list = false;
    static constexpr bool structured = false;
    static constexpr bool redacts = false;
};

template <>
struct codec<std::string> : scalar_codec {
    static parsed<std::string> parse(std::string_view text) {
        // A NUL would end the text early in the startup packet and in every C interface.
        if (text.find('\0') != text.npos) return parsed<std::string>::failure("contains a NUL character");
        return parsed<std::string>::of(std::string(text));
    }
    static std::string print(const std::string& value) { return value; }
    static std::string allowed() { return "text"; }
};

template <class T>
requires std::is_integral_v<T>
struct codec<T> : scalar_codec {
    static constexpr std::string_view kind = "a whole number";
    static parsed<std::uint64_t> parse(std::string_view text) { return parse_count(text); }
    static std::uint64_t wide(T value) { return value; }
    static T narrow(std::uint64_t value) { return static_cast<T>(value); }
    static std::string print(T value) { return std::to_string(value); }
};

template <>
struct codec<milliseconds> : scalar_codec {
    static constexpr std::string_view kind = "a duration";
    static parsed<milliseconds> parse(std::string_view text) { return parse_duration(text); }
    static milliseconds wide(milliseconds value) { return value; }
    static milliseconds narrow(milliseconds value) { return value; }
    static std::string print(milliseconds value) { return print_duration(value); }
};

template <>
struct codec<byte_size> : scalar_codec {
    static constexpr std::string_view kind = "a size";
    static parsed<byte_size> parse(std::string_view text) { return parse_size(text); }
    static byte_size wide(byte_size value) { return value; }
    static byte_size narrow(byte_size value) { return value; }
    static std::string print(byte_size value) { return print_size(value); }
};

template <>
struct codec<file_mode> : scalar_codec {
    static parsed<file_mode> parse(std::string_view text) { return parse_mode(text); }
    static std::string print(file_mode value) { return print_mode(value); }
    static std::string allowed() { return "octal permission bits such as 0770"; }
};

template <>
struct codec<worker_count> : scalar_codec {
    static parsed<worker_count> parse(std::string_view text) { return parse_worker_count(text); }
    static std::string print(worker_count value) { return print_worker_count(value); }
    static std::string allowed() { return "auto, or a whole number 1..64"; }
};

template <>
struct codec<memory_limit> : scalar_codec {
    static parsed<memory_limit> parse(std::string_view text) { return parse_memory_limit(text); }
    static std::string print(memory_limit value) { return print_memory_limit(value); }
    static std::string allowed() { return "auto, none, or a size of at least 16MiB"; }
};

template <class E>
requires std::is_enum_v<E>
struct codec<E> : scalar_codec {
    static parsed<E> parse(std::string_view text) {
        for (const auto& each : words(E{}))
            if (each.text == text) return parsed<E>::of(each.value);
        return parsed<E>::failure("is not known");
    }
    static std::string print(E value) {
        for (const auto& each : words(E{}))
            if (each.value == value) return std::string(each.text);
        return {};
    }
    static std::string allowed() {
        std::string list;
        for (const auto& each : words(E{}))
            list.append(list.empty() ? "one of " : ", ").append(each.text);
        return list;
    }
};

template <>
struct codec<connection_string> : scalar_codec {
    static constexpr bool redacts = true;
    static parsed<connection_string> parse(std::string_view text) {
        if (text.find('\0') != text.npos)
            return parsed<connection_string>::failure("contains a NUL character");
        return parsed<connection_string>::of(connection_string{std::string(text)});
    }
    static std::string print(const connection_string& value) { return redact_connection_url(value.text); }
    static std::string allowed() { return "a PostgreSQL connection URL or keyword string"; }
};

template <>
struct codec<auth_requirement> : scalar_codec {
    static parsed<auth_requirement> parse(std::string_view text) { return parse_auth_requirement(text); }
    static std::string print(const auth_requirement& value) { return value.text; }
    static std::string allowed() {
        return "a list of password, md5, scram-sha-256, gss, sspi, none, each or none with a '!' before it";
    }
};

template <>
struct codec<hba_lines> {
    static constexpr bool list = true;
    static constexpr bool structured = true;
    static constexpr bool redacts = false;
    static bool read(const document_node& node, std::string_view key, hba_lines& into, problems& found) {
        return read_hba(node, key, into, found);
    }
    static std::string print(const hba_lines& value) {
        std::string joined;
        for (const std::string& each : value.lines)
            joined.append(joined.empty() ? "" : "; ").append(each);
        return joined;
    }
    static std::string allowed() {
        return "a list of lines of pg_hba.conf, or of {type, database, user, address, method}";
    }
};

template <>
struct codec<pool_rule_list> {
    static constexpr bool list = true;
    static constexpr bool structured = true;
    static constexpr bool redacts = false;
    static bool read(const document_node& node, std::string_view key, pool_rule_list& into, problems& found) {
        return read_pool_rules(node, key, into, found);
    }
    static std::string print(const pool_rule_list& value) { return print_pool_rules(value); }
    static std::string allowed() {
        return "a list of {database: text, user: text, mode: transaction or session, size: number, min_size: "
               "number, reserve_size: number, reserve_timeout: duration, wait_timeout: duration, "
               "idle_timeout: duration, lifetime: duration, session_state: virtual, pin or off, replay: on "
               "or "
               "off}";
    }
};

template <>
struct codec<request_rate> : scalar_codec {
    static parsed<request_rate> parse(std::string_view text) { return parse_request_rate(text); }
    static std::string print(const request_rate& value) { return print_request_rate(value); }
    static std::string allowed() {
        return "none, strict (10/min), normal (100/min), loose (1000/min), hourly (1000/h), or a rate such "
               "as "
               "50/s, 600/min or 5000/h; how many may come at once with ` burst 20` behind it, else as many "
               "as "
               "the rate's number";
    }
};

template <>
struct codec<limit_rule_list> {
    static constexpr bool list = true;
    static constexpr bool structured = true;
    static constexpr bool redacts = false;
    static bool read(
        const document_node& node, std::string_view key, limit_rule_list& into, problems& found
    ) {
        return read_limit_rules(node, key, into, found);
    }
    static std::string print(const limit_rule_list& value) { return print_limit_rules(value); }
    static std::string allowed() {
        return "a list of {user: text, database: text, address: text, application_name: text, per: user, "
               "database, address, application_name or together, clients: number, requests: rate, waiting: "
               "number, query_timeout: duration, idle_transaction_timeout: duration, transaction_timeout: "
               "duration, result_size: size}";
    }
};

template <>
struct codec<certificate_list> {
    static constexpr bool list = true;
    static constexpr bool structured = true;
    static constexpr bool redacts = false;
    static bool read(
        const document_node& node, std::string_view key, certificate_list& into, problems& found
    ) {
        return read_certificates(node, key, into, found);
    }
    static std::string print(const certificate_list& value) { return print_certificates(value); }
    static std::string allowed() { return "a list of {cert: path, key: path}"; }
};

template <>
struct codec<server_list> {
    static constexpr bool list = true;
    static constexpr bool structured = false;
    static constexpr bool redacts = true;
    static bool read(const document_node& node, std::string_view key, server_list& into, problems& found) {
        return read_servers(node, key, into, found);
    }
    static std::string print(const server_list& value) { return print_servers(value); }
    static std::string allowed() { return "a list of host:port, [v6]:port or /socket/directory:port"; }
};

template <>
struct codec<api_url_list> {
    static constexpr bool list = true;
    static constexpr bool structured = false;
    static constexpr bool redacts = false;
    static bool read(const document_node& node, std::string_view key, api_url_list& into, problems& found) {
        return read_api_urls(node, key, into, found);
    }
    static std::string print(const api_url_list& value) { return print_api_urls(value); }
    static std::string allowed() { return "a list of http://host:port or https://host:port"; }
};

template <>
struct codec<user_list> {
    static constexpr bool list = true;
    static constexpr bool structured = true;
    static constexpr bool redacts = true;
    static bool read(const document_node& node, std::string_view key, user_list& into, problems& found) {
        return read_users(node, key, into, found);
    }
    static std::string print(const user_list& value) { return print_users(value); }
    static std::string allowed() {
        return "a list of {name: text, password: text} or {name: text, password_file: path}";
    }
};

}  // namespace pgmend::config
