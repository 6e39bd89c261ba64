#pragma once
// What a statement can reach in one database without saying so: functions of its own that change the session
// or write, and the relations, types and operators that call them (HEALING sections 3 and 4). Made from the
// answer to `schema_catalog_query`; names count in whatever schema. Immutable; any thread.

#include "protocol/statement_traits.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace pgmend::protocol {

/// What is known of the functions of one name.
struct catalog_function {
    bool read_only = false;       ///< every one is immutable or stable, and reaches nothing that writes
    bool changes_schema = false;  ///< may run DDL
};

class schema_catalog {
public:
    /// Two catalogs with one id say the same. Never 0.
    std::uint64_t id() const noexcept { return id_; }
    /// Whether anything in this database changes the session unseen.
    bool hides_anything() const noexcept { return everywhere_ || ddl_ || !hiding_.empty(); }
    std::size_t hiding_names() const noexcept { return hiding_.size(); }
    std::size_t functions() const noexcept { return functions_.size(); }

    /// The functions of that name, when all of them are known and none changes the session. `schema` is empty
    /// for an unqualified name.
    std::optional<catalog_function> harmless_function(std::string_view schema, std::string_view name)
        const noexcept;
    /// Adds to what `text` does by itself what it may reach: `unknown_function` where that may change the
    /// session, `hidden_beyond` where it may do what must not be done twice, and not read-only where it may
    /// write. `traits` are those of the text.
    void extend(statement_traits& traits, std::string_view text) const;
    /// Whether this text, judged so, may make this catalog wrong: whether a statement could from then on
    /// reach what it could not reach before. DDL inside functions is not seen.
    bool concerned_by(const statement_traits& traits, std::string_view text) const;

    /// For a database that could not be read: everything may hide.
    static std::shared_ptr<const schema_catalog> cautious();

private:
    friend class schema_catalog_builder;
    bool made_by(std::string_view ddl) const;

    std::unordered_set<std::uint64_t> hiding_;   ///< names whose mention may change the session
    std::unordered_set<std::uint64_t> writing_;  ///< names whose mention in a plain SELECT may write
    std::unordered_set<std::uint64_t> beyond_;   ///< names whose mention may do what must not be done twice
    std::unordered_map<std::uint64_t, catalog_function> functions_;
    bool everywhere_ = false;  ///< operators, casts or types hide, and no text names those
    bool writes_everywhere_ = false;
    bool beyond_everywhere_ = false;
    bool ddl_ = false;  ///< an event trigger hides
    std::uint64_t id_ = 1;
};

/// One row of the answer; see schema_catalog_query. Views are read during the call alone.
struct catalog_row {
    std::string_view kind;
    std::string_view name;
    std::string_view flags;
    std::string_view extra;
};

class schema_catalog_builder {
public:
    /// `max_bytes` bounds what is kept of the rows.
    explicit schema_catalog_builder(std::size_t max_bytes) : max_bytes_(max_bytes) {}

    /// False when the rows are too many: the catalog cannot be built.
    bool add(const catalog_row& row);
    /// What the server said about the state of its catalogs; none when it said nothing.
    std::optional<std::uint64_t> version() const noexcept { return version_; }
    std::shared_ptr<const schema_catalog> build();

private:
    struct named_function {
        std::uint64_t name;
        bool hides;
        bool writes;
        bool beyond;
        bool known;
        bool changes_schema;
        std::vector<std::uint64_t> mentions;
    };
    struct link {
        std::uint64_t source;
        std::uint64_t target;
        bool read;  ///< reading the target is enough to reach the source
    };

    /// What a function or an expression may do, and what leads to it with that.
    enum class property : std::uint8_t { hides, writes, beyond };

    void add_function(const catalog_row& row);
    std::unordered_set<std::uint64_t> reached(property what) const;
    void describe_functions(schema_catalog& catalog) const;

    std::size_t max_bytes_;
    std::size_t bytes_ = 0;
    std::uint64_t content_ = 0;  ///< of all rows, in whatever order
    std::optional<std::uint64_t> version_;
    std::vector<named_function> functions_;
    std::vector<link> links_;
    std::vector<std::uint64_t> hiding_expressions_;
    std::vector<std::uint64_t> writing_expressions_;
    std::vector<std::uint64_t> beyond_expressions_;
    std::vector<std::uint64_t> everywhere_;
    std::vector<std::uint64_t> ddl_;
};

}  // namespace pgmend::protocol
