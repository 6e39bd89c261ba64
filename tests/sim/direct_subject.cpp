#include "tests/sim/subject.hpp"

namespace pgmend::sim {

namespace {

class direct_subject final : public subject {
public:
    explicit direct_subject(const subject_setup& setup) : server_(setup.server) {}
    pool::endpoint client_endpoint() const override { return server_; }
    bool keeps_budget() const override { return false; }
    void stop() override {}

private:
    pool::endpoint server_;
};

}  // namespace

std::unique_ptr<subject> make_direct_subject(const subject_setup& setup) {
    return std::make_unique<direct_subject>(setup);
}

}  // namespace pgmend::sim
