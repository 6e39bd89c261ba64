#pragma once
// The pens of client_script: one method a habit, each writes one exchange. Pure.

#include <map>
#include <string>
#include <vector>

#include "tests/sim/client_script.hpp"

namespace pgmend::sim {

class script_writer {
public:
    script_writer(prng& dice, std::string tag) : dice_(dice), tag_(std::move(tag)) {}

    void exchange(habit how);
    /// The last word of each connection: it still answers.
    void farewell();
    std::vector<script_step> take() { return std::move(steps_); }

private:
    void simple();
    void extended();
    void named_flush();
    void two_trips();
    void pipeline();
    void portals();
    void copy();
    void copy_in(bool by_query);
    void transactions();
    void settings();
    void temporary_tables();
    void locks();
    void listening();
    void sql_prepare();
    void bulk();
    void cancelling();
    void cursors();
    void hidden();
    void batches();
    void named_batch();
    void long_batch();
    void many_names();
    void unsynced_query();
    void copy_in_batch();
    std::string batch_name();
    void part_of_batch(std::vector<std::string>& messages);
    void parse_in_batch(std::vector<std::string>& messages, const std::string& name);
    void run_in_batch(std::vector<std::string>& messages, const std::string& name);
    void unnamed_in_batch(std::vector<std::string>& messages, const std::string& sql);

    void step(std::vector<std::string> messages, bool wait = true);
    void query(const std::string& sql) { step({frontend::query(sql)}); }
    /// A mark found in no other statement: the tag, '#', a number.
    std::string mark() { return tag_ + "#" + std::to_string(++marks_); }
    std::string marked_select() { return "SELECT '" + mark() + "'"; }
    std::string new_key() { return "'" + (last_key_ = mark()) + "'"; }
    std::string old_key() { return "'" + (last_key_.empty() ? mark() : last_key_) + "'"; }
    std::string any_statement();
    std::string write_statement();
    std::string failing_statement();
    std::string number(std::int64_t first, std::int64_t last) {
        return std::to_string(dice_.between(first, last));
    }

    prng& dice_;
    std::string tag_;
    std::size_t marks_ = 0;
    std::string last_key_;
    std::vector<std::string> prepared_;  ///< names parsed by named_flush on this connection
    static constexpr int batch_names = 5;
    std::map<std::string, std::size_t> batch_parameters_;  ///< of names a batch has parsed: how many
    bool custom_set_ = false;                              ///< custom.thing was set and not reset since
    std::vector<script_step> steps_;
};

}  // namespace pgmend::sim
