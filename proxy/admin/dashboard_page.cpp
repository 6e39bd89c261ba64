#include "proxy/admin/dashboard_page.hpp"

#include "proxy/dashboard/embedded.hpp"

namespace pgmend::proxy {

http_reply dashboard_page(const http_request& request) {
    http_reply reply;
    if (request.accept_encoding.find("gzip") == std::string::npos) {
        reply.status = 406;
        reply.content_type = "text/plain; charset=utf-8";
        reply.body = "The dashboard is sent packed, to programs that say Accept-Encoding: gzip.\n";
        return reply;
    }
    const auto page = dashboard::packed_page();
    reply.body.assign(page.begin(), page.end());
    reply.content_type = "text/html; charset=utf-8";
    reply.encoding = "gzip";
    reply.content_policy = dashboard::content_policy();
    return reply;
}

}  // namespace pgmend::proxy
