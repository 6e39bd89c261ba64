// SCRAM on both sides: hostile peers, and an honest exchange in which one message was changed on its way.

#include "protocol/scram.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

using namespace protocol;

constexpr std::string_view end_point = "0123456789abcdef0123456789abcdef";
constexpr std::uint32_t most_rounds = 16;  // a hostile count is refused, not computed

const scram_verifier& verifier() {
    static const scram_verifier made = derive_scram_verifier("secret", as_bytes("0123456789abcdef"), 4);
    return made;
}

scram_key_cache& keys() {
    static scram_key_cache cache(64);
    return cache;
}

/// Refusals have words and are final; nobody gets in without the password.
void check(const scram_step& step, std::size_t most) {
    require(step.status != scram_status::done, "nobody is let in by bytes out of thin air");
    if (step.status == scram_status::refused)
        require(step.error.sqlstate.size() == 5, "a refusal has its code");
    require(step.message.size() <= most, "an answer is bounded");
}

void hostile_client(dice& from) {
    scram_server server(verifier(), "app", "a nonce", from.coin() ? end_point : std::string_view{});
    const exact_copy body(from.short_text());
    if (const auto first = parse_sasl_initial_response(body.bytes())) {
        check(server.initial_response(*first), scram_server_message_max);
    } else {
        check(
            server.initial_response({from.coin() ? scram_sha_256 : scram_sha_256_plus, body.text()}),
            scram_server_message_max
        );
    }
    while (!from.done()) {
        const exact_copy next(from.text(std::size_t{from.u8()} * 8));
        check(server.response(next.text()), scram_server_message_max);
    }
}

void hostile_server(dice& from) {
    const bool tls = from.coin();
    scram_client client("secret", "cnonce", keys(), tls ? end_point : std::string_view{}, most_rounds);
    const exact_copy offered(from.short_text());
    auto step = client.mechanisms(offered.bytes());
    if (step.status == scram_status::refused)
        step = client.mechanisms(as_bytes(std::string_view("SCRAM-SHA-256\0\0", 15)));
    check(step, scram_server_message_max);
    // Our nonce in front lets a server get further.
    std::string challenge = from.coin() ? "r=cnonce" : "";
    challenge += from.text(std::size_t{from.u8()} * 8);
    const exact_copy first(challenge);
    check(client.server_first(first.text()), scram_server_message_max);
    while (!from.done()) {
        const exact_copy next(from.text(std::size_t{from.u8()} * 8));
        check(client.server_final(next.text()), scram_server_message_max);
    }
}

/// An exchange between the two of ours; message `number` is changed by `change` before it arrives.
template <class Change>
bool exchange(bool tls, std::uint8_t number, Change change) {
    const auto end = tls ? end_point : std::string_view{};
    scram_server server(verifier(), "app", "snonce", end);
    scram_client client("secret", "cnonce", keys(), end, most_rounds);
    const std::string_view both("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", 34);
    std::uint8_t at = 0;
    const auto carried = [&](std::string text) { return at++ == number ? change(std::move(text)) : text; };

    const auto first = client.mechanisms(as_bytes(tls ? both : both.substr(19)));
    require(first.status == scram_status::reply, "an honest offer is taken");
    const std::string client_first = carried(first.message);
    const auto challenge = server.initial_response({client.mechanism(), client_first});
    if (challenge.status != scram_status::reply) return false;
    const auto proof = client.server_first(carried(challenge.message));
    if (proof.status != scram_status::reply) return false;
    const auto verdict = server.response(carried(proof.message));
    if (verdict.status != scram_status::done) return false;
    return client.server_final(carried(verdict.message)).status == scram_status::done;
}

void honest_but_for_one(dice& from) {
    const bool tls = from.coin();
    const auto number = static_cast<std::uint8_t>(from.below(4));
    const std::size_t place = from.u8();
    const std::size_t taken = from.u8() & 7U;
    const std::string inserted(from.rest_text());
    bool changed = false;
    const bool in = exchange(tls, number, [&](std::string text) {
        const std::string before = text;
        text.replace(std::min(place, text.size()), taken, inserted);
        changed = text != before;
        return text;
    });
    require(in == !changed, "whoever changes an exchange ends it, and nothing else does");
}

}  // namespace

void sasl(byte_view input) {
    dice from(input);
    switch (from.below(3)) {
        case 0:
            return hostile_client(from);
        case 1:
            return hostile_server(from);
        default:
            return honest_but_for_one(from);
    }
}

}  // namespace pgmend::fuzz
