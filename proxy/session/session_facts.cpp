#include "proxy/session/session_facts.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include "pool/leftover_query.hpp"
#include "protocol/session_change.hpp"

namespace pgmend::proxy {

using protocol::has;
using protocol::session_change_kind;
using protocol::session_effect;
using protocol::statement_kind;

namespace {

/// Effects that keep the server until the server itself says that nothing is left, or for good.
struct pinning {
    session_effect effect;
    pin_reason reason;
};
constexpr std::array<pinning, 10> pinnings{{
    {session_effect::sql_prepare, pin_reason::sql_prepare},
    {session_effect::listen, pin_reason::listen},
    {session_effect::temp_object, pin_reason::temporary_table},
    {session_effect::hold_cursor, pin_reason::cursor},
    {session_effect::advisory_lock, pin_reason::advisory_lock},
    {session_effect::seed, pin_reason::unknown},
    {session_effect::load, pin_reason::unknown},
    {session_effect::unknown_function, pin_reason::unknown},
    {session_effect::do_block, pin_reason::unknown},
    {session_effect::unknown, pin_reason::unknown},
}};

/// What the server can be asked about, in the order of pool::leftover_words.
constexpr std::array<pin_reason, pool::leftover_words.size()> reviewable{
    pin_reason::temporary_table, pin_reason::advisory_lock, pin_reason::cursor,
    pin_reason::sql_prepare,     pin_reason::listen,        pin_reason::role};

constexpr session_effect may_release = session_effect::unlisten | session_effect::advisory_unlock |
                                       session_effect::sql_deallocate | session_effect::discard |
                                       session_effect::changes_schema | session_effect::sets_role;

constexpr session_effect harmless = session_effect::copy | session_effect::special_literal |
                                    session_effect::transaction_lock | session_effect::cursor |
                                    session_effect::outside_effects | session_effect::large_object |
                                    session_effect::hidden_beyond;

constexpr session_effect names_parameters = session_effect::sets_parameter | session_effect::sets_role |
                                            session_effect::calls_set_config | session_effect::discard;

constexpr std::string_view application_name = "application_name";
constexpr std::string_view role = "role";

bool mentions(std::string_view text, std::string_view word) noexcept {
    const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
    return std::search(text.begin(), text.end(), word.begin(), word.end(), same) != text.end();
}

bool draws(const protocol::statement_traits& traits) noexcept {
    return traits.kind == statement_kind::insert || has(traits.effects, session_effect::sequence_value);
}

bool asks_what_was_drawn(const protocol::statement_traits& traits, std::string_view text) noexcept {
    return has(traits.effects, session_effect::sequence_value) &&
           (mentions(text, "currval") || mentions(text, "lastval"));
}

}  // namespace

bool session_facts::take_foreign_sequences(
    const protocol::statement_traits& traits, std::string_view text
) noexcept {
    if (!foreign_sequences_ || !draws(traits)) return false;
    foreign_sequences_ = false;
    return asks_what_was_drawn(traits, text);
}

/// The value of currval and lastval belongs to one backend. It is kept from the first question on, and from
/// the drawing on where a client of this application has asked before.
void session_facts::note_sequences(const protocol::statement_traits& traits, std::string_view text) {
    if (pins.has(pin_reason::sequence)) return;
    const std::string* application = settings->find(application_name);
    const std::string_view name =
        application != nullptr ? std::string_view{*application} : std::string_view{};
    if (asks_what_was_drawn(traits, text)) {
        if (habits != nullptr && last_draw != 0) habits->learn(last_draw, name);
        pins.add(pin_reason::sequence);
        return;
    }
    // What an INSERT puts in differs each time.
    const bool insert = traits.kind == statement_kind::insert;
    const std::uint64_t shape = sequence_habits::shape(insert ? text.substr(0, text.find('(')) : text);
    last_draw = static_cast<std::uint32_t>(shape);
    if (habits != nullptr && habits->knows(last_draw, name)) pins.add(pin_reason::sequence);
}

/// Another statement follows before the reset was answered: what it did is asked later.
void session_facts::doubt_reset() {
    switch (std::exchange(reset_, certain_reset::none)) {
        case certain_reset::none:
            return;
        case certain_reset::one:
            touched_.insert_or_assign(*reset_name_, touch::reset);
            return;
        case certain_reset::all:
        case certain_reset::everything:
            review_pins_ = review_pins_ || !pins.empty();
            for (const auto* set : {settings, startup}) {
                for (const auto& [name, value] : set->values) {
                    touched_.insert_or_assign(name, name == role ? touch::set : touch::reset);
                }
            }
            return;
    }
}

void session_facts::note(const protocol::statement_traits& traits, std::string_view text, bool idle) {
    if (reset_ != certain_reset::none) doubt_reset();
    // SET LOCAL has no effect on the session; several statements may contain one.
    if (traits.kind == statement_kind::set || traits.multiple) local_settings_ = true;
    if (draws(traits) && !forgets_) note_sequences(traits, text);
    const session_effect effects = traits.effects & ~harmless;
    if (effects == session_effect::none && traits.kind != statement_kind::close_cursor) return;
    if (forgets_) {
        left_something_ = true;
        if (has(effects, session_effect::temp_object)) had_temporary_objects_ = true;
        if (has(effects, session_effect::changes_schema)) schema_changed_ = true;
        return;
    }
    if (!pins.empty() && (has(effects, may_release) || traits.kind == statement_kind::close_cursor)) {
        review_pins_ = true;
    }
    if (keeps_server_ && (effects & ~session_effect::changes_schema) != session_effect::none)
        pins.add(pin_reason::parameter);
    for (const auto& [effect, reason] : pinnings) {
        if (!has(effects, effect) || pins.has(reason)) continue;
        pins.add(reason);
        // Evidence ends a pin where the server can give it: the statement may yet fail.
        if (std::find(reviewable.begin(), reviewable.end(), reason) != reviewable.end()) review_pins_ = true;
    }
    if (has(effects, session_effect::temp_object)) had_temporary_objects_ = true;
    if (shared != nullptr && has(effects, session_effect::unlisten | session_effect::discard))
        note_unlistens(text);
    if (has(effects, session_effect::changes_schema)) schema_changed_ = true;
    if (has(effects, names_parameters)) note_changes(traits, text, idle);
}

bool session_facts::asks_channels(std::string_view text) const noexcept {
    return shared != nullptr && !shared->channels.empty() && mentions(text, "pg_listening_channels");
}

void session_facts::note_unlistens(std::string_view text) {
    for (const auto& change : protocol::session_changes(text)) {
        if (change.kind == session_change_kind::unlisten) shared->sent_unlistens.push_back(change.name);
        const bool all = change.kind == session_change_kind::unlisten_all ||
                         change.kind == session_change_kind::discard_all;
        if (all) shared->sent_unlistens.emplace_back("*");
    }
}

void session_facts::note_changes(const protocol::statement_traits& traits, std::string_view text, bool idle) {
    const auto changes = protocol::session_changes(text);
    const bool alone = idle && changes.size() == 1 && !traits.multiple;
    for (const auto& change : changes) {
        switch (change.kind) {
            case session_change_kind::set_parameter:
                if (change.is_local) break;
                touched_.insert_or_assign(change.name, touch::set);
                break;
            case session_change_kind::reset_parameter:
                if (!change.is_local) note_reset(change.name, alone);
                break;
            case session_change_kind::reset_all:
            case session_change_kind::discard_all:
                if (alone) {
                    reset_ = change.kind == session_change_kind::reset_all ? certain_reset::all
                                                                           : certain_reset::everything;
                    break;
                }
                for (const auto* set : {settings, startup}) {
                    for (const auto& [name, value] : set->values) {
                        touched_.insert_or_assign(name, name == role ? touch::set : touch::reset);
                    }
                }
                break;
            case session_change_kind::set_role:
                if (!change.is_local) touched_.insert_or_assign(std::string{role}, touch::set);
                break;
            case session_change_kind::reset_role:
                if (!change.is_local) note_reset(role, alone);
                break;
            case session_change_kind::set_session_authorization:
            case session_change_kind::reset_session_authorization:
                if (change.is_local) break;
                pins.add(pin_reason::role);
                review_pins_ = true;
                touched_.insert_or_assign(std::string{role}, touch::set);  // there is none then
                break;
            case session_change_kind::other:
                pins.add(pin_reason::parameter);
                break;
            default:
                break;
        }
    }
}

void session_facts::note_reset(std::string_view name, bool alone) {
    if (alone) {
        reset_ = certain_reset::one;
        reset_name_ = std::make_unique<std::string>(name);
    } else {
        touched_.insert_or_assign(std::string{name}, touch::reset);
    }
}

void session_facts::completed(
    std::string_view tag, const server_view& server, protocol::parameter_store& store
) {
    completed_ = std::exchange(reset_, certain_reset::none);
    switch (completed_) {
        case certain_reset::none:
            return;
        case certain_reset::one:
            if (tag != "RESET" && tag != "SET") return;
            settings = store.with(settings, *reset_name_, startup->find(*reset_name_));
            server.settings = store.with(server.settings, *reset_name_, nullptr);
            touched_.erase(*reset_name_);
            return;
        case certain_reset::all:
            if (tag != "RESET") return;
            server.settings = store.with(store.empty(), role, server.settings->find(role));
            settings = store.with(startup, role, settings->find(role));
            touched_.clear();
            return;
        case certain_reset::everything:
            if (tag != "DISCARD ALL") return;
            server.settings = store.empty();
            discarded();
            return;
    }
}

void session_facts::discarded() noexcept {
    settings = startup;
    touched_.clear();
    const bool session_mode = pins.has(pin_reason::session_mode);
    pins.clear();
    if (session_mode) pins.add(pin_reason::session_mode);
    review_pins_ = false;
}

std::string session_facts::review_query(std::string_view login_user) const {
    // The question takes as long as it takes, whatever this client allows its own statements; but its own
    // limit, if that is asked for, has to be read before it is put out of force.
    std::string values;
    bool asks_for_limit = false;
    for (const auto& [name, how] : touched_) {
        values += values.empty() ? "SELECT " : ",";
        values += "pg_catalog.current_setting(" + protocol::quote_literal(name) + ",true)";
        if (how == touch::reported)
            values +=
                ",EXISTS(SELECT 1 FROM pg_catalog.pg_settings WHERE source='session' AND "
                "pg_catalog.lower(name)=" +
                protocol::quote_literal(name) + ')';
        asks_for_limit = asks_for_limit || protocol::names_statement_timeout(name);
    }
    std::string query{asks_for_limit ? std::string_view{} : protocol::unlimited};
    if (!values.empty()) query += values + ';';
    if (!review_pins_) return query;
    if (asks_for_limit) query += protocol::unlimited;
    // The role that is known is no news; and one that a statement has named is asked for above.
    const std::string* known = settings->find(role);
    if (touched_.contains(role)) return query + pool::leftover_query(login_user, std::nullopt);
    return query + pool::leftover_query(login_user, known != nullptr ? *known : pool::no_role);
}

void session_facts::note_reported(std::string_view name) {
    const bool of_writes = name == "default_transaction_read_only" || name == "in_hot_standby";
    if (of_writes && touched_.find(name) == touched_.end()) server_turned_ = true;
    // Not every parameter a server reports can be set.
    static constexpr std::array<std::string_view, 5> facts{
        "in_hot_standby", "is_superuser", "server_version", "session_authorization", "integer_datetimes"};
    if (std::find(facts.begin(), facts.end(), name) != facts.end()) return;
    // As statements name it.
    std::string folded{name};
    for (char& letter : folded) {
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    }
    if (forgets_) {
        left_something_ = true;
    } else if (reset_ == certain_reset::none && completed_ == certain_reset::none)
        touched_.try_emplace(std::move(folded), touch::reported);
}

std::string_view session_facts::reported(
    std::string_view name, std::string_view value, const protocol::parameter_set& at_login
) const noexcept {
    if (name != application_name) return value;
    // A RESET that was undone goes back to what had been set.
    const std::string* neutral = at_login.find(name);
    if (neutral == nullptr || *neutral != value) return value;
    const auto touched = touched_.find(name);
    const bool certain = completed_ == certain_reset::all || completed_ == certain_reset::everything ||
                         (completed_ == certain_reset::one && *reset_name_ == name);
    const bool reset = certain || (touched != touched_.end() && touched->second == touch::reset);
    const std::string* own = startup->find(name);
    return reset && own != nullptr ? *own : value;
}

void session_facts::reviewed(
    const std::vector<std::optional<std::string>>& columns, const server_view& server,
    protocol::parameter_store& store
) {
    const std::size_t values =
        touched_.size() +
        static_cast<std::size_t>(std::count_if(touched_.begin(), touched_.end(), [](const auto& one) {
            return one.second == touch::reported;
        }));
    if (columns.size() != values + (review_pins_ ? reviewable.size() : 0)) {
        review_failed();
        return;
    }
    for (std::size_t i = 0; review_pins_ && i < reviewable.size(); ++i) {
        if (columns[values + i] == "t") {
            pins.add(reviewable[i]);
        } else {
            pins.remove(reviewable[i]);
        }
    }
    had_temporary_objects_ = had_temporary_objects_ || (review_pins_ && columns[values] == "t");
    std::size_t at = 0;
    for (const auto& [name, how] : touched_) {
        const std::string* value = columns[at] ? &*columns[at] : nullptr;
        ++at;
        // By the server's configuration: true there, and no more this client's than anybody's.
        if (how == touch::reported && columns[at++] != "t") value = nullptr;
        // RESET ROLE goes back to the login's, whichever that is.
        if (how == touch::reset && name == role) value = nullptr;
        server.settings = store.with(server.settings, name, value);
        const std::string* neutral = server.reported_at_login->find(name);
        const bool back_to_neutral = how == touch::reset && name == application_name && neutral != nullptr &&
                                     value != nullptr && *neutral == *value;
        settings = store.with(settings, name, back_to_neutral ? startup->find(name) : value);
    }
    touched_.clear();
    review_pins_ = false;
}

void session_facts::review_failed() noexcept {
    pins.add(pin_reason::parameter);
    touched_.clear();
    review_pins_ = false;
}

}  // namespace pgmend::proxy
