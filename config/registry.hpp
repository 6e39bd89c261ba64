#pragma once
// What all settings have in common, and the list of them. A setting enters the list by being constructed as
// a member, so there is no second place to forget it. Built and filled by one thread, then read-only.

#include <string>
#include <string_view>
#include <vector>

#include "config/document.hpp"

namespace pgmend::config {

/// What a change of the value needs in order to take effect.
enum class reload_class { live, new_sessions, restart };
std::string_view word_of(reload_class reload);

/// Where the current value came from, in rising order of precedence.
enum class value_source { built_in, database_url, file, environment, console };
std::string_view word_of(value_source source);

enum class secrecy { plain, secret };

/// Stands in every output in place of a secret.
inline constexpr std::string_view redacted = "***";

class registry;

/// A group of settings; the base of the structs in settings.hpp. Immovable, because the list points into it.
class section {
public:
    explicit section(registry* owner) noexcept : owner_(owner) {}
    section(const section&) = delete;
    section& operator=(const section&) = delete;
    registry* owner() const noexcept { return owner_; }

private:
    registry* owner_;
};

/// A setting without its type: what the loader, the documents and the console need.
class setting_base {
public:
    setting_base(
        section* parent, std::string_view key, reload_class reload, std::string_view doc, secrecy kept
    );
    setting_base(const setting_base&) = delete;
    setting_base& operator=(const setting_base&) = delete;
    virtual ~setting_base() = default;

    std::string_view key() const noexcept { return key_; }
    std::string_view doc() const noexcept { return doc_; }
    reload_class reload() const noexcept { return reload_; }
    bool secret() const noexcept { return secrecy_ == secrecy::secret; }
    value_source source() const noexcept { return source_; }
    /// `pool.wait_timeout` is also PGMEND_POOL_WAIT_TIMEOUT.
    std::string environment_name() const;

    /// Takes the value from a document node (or a scalar node made of an environment variable). On failure
    /// the value stays and the reason is added to `found`.
    virtual bool read(const document_node& node, value_source source, problems& found) = 0;
    /// The value as it would be written in the configuration; never a secret.
    virtual std::string shown() const = 0;
    virtual std::string shown_default() const = 0;
    /// What may be written, for messages and documents: `1..64`, `one of text, json`.
    virtual std::string allowed() const = 0;
    /// Compares with, and takes over, the value of the same setting in another snapshot.
    virtual bool same_value(const setting_base& other) const = 0;
    virtual void take(const setting_base& other) = 0;
    /// True for values that are a list of mappings and have no one-line spelling but YAML's flow form.
    virtual bool structured() const noexcept = 0;

protected:
    void set_source(value_source source) noexcept { source_ = source; }

private:
    std::string_view key_;
    std::string_view doc_;
    reload_class reload_;
    secrecy secrecy_;
    value_source source_ = value_source::built_in;
};

class registry : public section {
public:
    registry() : section(this) {}

    void add(setting_base* setting) { all_.push_back(setting); }
    /// In the order of declaration.
    const std::vector<setting_base*>& all() const noexcept { return all_; }
    /// Null when there is no such setting.
    setting_base* find(std::string_view key) const noexcept;
    /// True for `pool` or `listen.tls`: something that contains settings.
    bool is_section(std::string_view key) const noexcept;
    /// The known key or section closest to a misspelt one; empty when nothing is close enough to be meant.
    std::string nearest(std::string_view key) const;

private:
    std::vector<setting_base*> all_;
};

}  // namespace pgmend::config
