#pragma once
// One administrator's connection: the simple and the extended protocol over the commands of admin_command. It
// has no server; what it is asked goes to the desk, and it waits for the answer. One worker thread; lives in
// the coroutine of its client_session.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pool/task.hpp"
#include "proxy/admin/admin_port.hpp"
#include "proxy/admin/admin_role.hpp"

namespace pgmend::proxy {

class client_session;
class worker_core;

/// From the welcome to the end; last words may still wait for the client's socket.
pool::task<> serve_console(client_session& session, std::string user, admin_role role);

class admin_console {
public:
    admin_console(client_session& session, std::string user, admin_role role);
    ~admin_console();
    admin_console(const admin_console&) = delete;
    admin_console& operator=(const admin_console&) = delete;

    pool::task<> run();

private:
    /// Of the extended protocol: at most one command, as in PostgreSQL.
    struct statement {
        std::vector<admin_command> commands;
    };
    struct portal {
        std::vector<admin_command> commands;
        std::vector<std::uint16_t> formats;
        std::optional<table_rows> rows;  ///< once executed
        std::size_t sent = 0;
    };
    enum class block : char { none = 'I', open = 'T', failed = 'E' };

    pool::task<bool> read_message();
    pool::task<bool> wait();
    pool::task<bool> flush();
    pool::task<bool> answer_message();
    pool::task<bool> simple_query();
    pool::task<bool> execute();
    /// Carries out one command; its answer is in answer_. False when the connection is over.
    pool::task<bool> carry_out(const admin_command& command);
    /// What needs no desk: true when answer_ is complete.
    bool answer_here(const admin_command& command);
    void parse();
    void bind();
    void describe();
    void close();
    void welcome();
    void write_error(const admin_error& error);
    void write_notice();
    void extended_error(const admin_error& error);
    void send_rows(const admin_command& command, portal& from, std::uint32_t most);
    /// Views into the command.
    static std::vector<table_column> columns_for(const admin_command& command);
    std::string_view tag_for(const admin_command& command) const;
    void ready();

    client_session& session_;
    worker_core& worker_;
    const std::string user_;
    const admin_role role_;
    std::vector<std::byte> out_;
    std::vector<std::byte> body_;  ///< of the message under way
    char type_ = 0;
    std::map<std::string, statement, std::less<>> statements_;
    std::map<std::string, portal, std::less<>> portals_;
    admin_answer answer_;
    std::shared_ptr<admin_ticket> ticket_;  ///< under way
    block block_ = block::none;
    bool skip_to_sync_ = false;
    bool last_words_ = false;   ///< what is in out_ is sent although it ends
    bool readable_ = false;     ///< the client has something to say
    std::string_view end_tag_;  ///< of the last COMMIT or ROLLBACK: a failed block ends with ROLLBACK
};

}  // namespace pgmend::proxy
