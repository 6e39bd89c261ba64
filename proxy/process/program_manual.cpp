#include "proxy/process/program_manual.hpp"

#include "config/manual.hpp"

namespace pgmend::proxy {

namespace {

constexpr std::string_view head = R"(.SH NAME
pgmend \- a self\-healing proxy for PostgreSQL
.SH SYNOPSIS
.B pgmend
.RB [ \-\-config
.IR FILE ]
.RI [ OPTION ]
.SH DESCRIPTION
.B pgmend
stands between an application and PostgreSQL and keeps the application from noticing what goes wrong.
It speaks PostgreSQL's own protocol and lets many clients share few server connections.
.B DATABASE_URL
alone is enough to run; every other setting is described in
.BR pgmend.yaml (5).
.SH OPTIONS
)";

constexpr std::string_view tail = R"(.SH SIGNALS
.TP
.B SIGTERM
Ends: idle clients are told 57P01, the others at the end of their transaction, within shutdown.drain_timeout.
With shutdown.linger, everything goes on as before until the last client has been gone for
shutdown.linger_quiet. Each further one goes a step on.
.TP
.B SIGINT
Ends at once.
.TP
.B SIGHUP
Reads certificates, secrets and rules again.
.TP
.B SIGUSR2
Starts a new pgmend from the program file that is there now, with the same arguments, and hands it the
listening sockets; this process serves its clients until they leave, for at most shutdown.takeover_linger.
A successor that does not get as far as serving changes nothing.
.TP
.B SIGUSR1
With \-\-attended: leaves the service. Listening sockets are given to the service manager to keep, the process
that the manager sees ends, and this one serves its clients until they leave, for at most
shutdown.takeover_linger, or until SIGTERM reaches whoever is the service then.
.SH ENVIRONMENT
.TP
.B DATABASE_URL
The server, and who logs in.
.TP
.B PGMEND_...
One variable for each setting.
.TP
.BR LISTEN_FDS ", " LISTEN_FDNAMES ", " NOTIFY_SOCKET ", " WATCHDOG_USEC
As systemd sets them: sockets to listen on (in place of the addresses in the settings), and where to tell
about readiness and life.
.SH EXIT STATUS
0 when it was asked to end; 1 when it could not start, or a check failed; 2 when the arguments are wrong.
.SH SEE ALSO
.BR pgmend.yaml (5),
.BR psql (1)
)";

/// The options in the text of --help are its lines that begin with two blanks and a dash.
std::string options_of(std::string_view usage) {
    constexpr std::string_view indent = "  -";
    std::string text;
    while (!usage.empty()) {
        const std::string_view line = usage.substr(0, usage.find('\n'));
        usage.remove_prefix(std::min(usage.size(), line.size() + 1));
        if (!line.starts_with(indent)) continue;
        const std::size_t gap = line.find("  ", indent.size());
        const std::size_t words = line.find_first_not_of(' ', gap);
        if (words == line.npos) continue;
        text += ".TP\n.B " + config::roff(line.substr(2, gap - 2)) + "\n";
        text += config::roff(line.substr(words)) + "\n";
    }
    return text;
}

}  // namespace

std::string program_manual(std::string_view usage, std::string_view version) {
    std::string text = ".\\\" Generated from the program itself by pgmend --print-man.\n";
    text.append(".TH PGMEND 1 \"\" \"pgmend ").append(version).append("\" \"User Commands\"\n");
    return text.append(head).append(options_of(usage)).append(tail);
}

}  // namespace pgmend::proxy
