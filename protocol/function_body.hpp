#pragma once
// What the body of a function may do beside computing, read from its text: whether it can leave something in
// its session that the proxy is never sent (HEALING section 4, hidden in functions), whether it can change
// the schema, and which names it mentions. It errs on the cautious side: a word that could begin such a
// statement is taken for one. Pure; any thread.

#include <cstdint>
#include <string_view>
#include <vector>

namespace pgmend::protocol {

struct body_facts {
    bool hides = false;           ///< may change the session by itself, or runs SQL that is not in the text
    bool beyond = false;          ///< may have effects outside its transaction, or lock others out of it
    bool changes_schema = false;  ///< may run DDL
    std::vector<std::uint64_t> names;  ///< name_number of every name mentioned, sorted, each once
};

/// `language` as in pg_language. A body in a language other than sql and plpgsql is not read: it hides.
body_facts judge_body(std::string_view language, std::string_view body);

}  // namespace pgmend::protocol
