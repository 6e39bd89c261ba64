#include "protocol/scram.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <charconv>

#include "protocol/base64.hpp"

namespace pgmend::protocol {

namespace {

constexpr std::string_view binding_type = "tls-server-end-point";

auth_error malformed(std::string_view detail) {
    return {sqlstate::protocol_violation, "malformed SCRAM message", detail};
}

bool is_printable(std::string_view text) noexcept {
    return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 127 && c != ','; });
}

bool is_letter(char c) noexcept { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

/// Reads `a=value` pairs separated by commas. The first pair that is not as asked for makes it `failed` for
/// good.
class attribute_reader {
public:
    explicit attribute_reader(std::string_view text) noexcept : rest_(text) {}

    /// The value of the next attribute, which must be `name`; empty once failed.
    std::string_view read(char name) noexcept {
        if (rest_.empty() || rest_.front() != name) return fail();
        return any(name);
    }
    /// The value of the next attribute whatever its name.
    std::string_view any(char& name) noexcept {
        if (failed_ || rest_.size() < 2 || !is_letter(rest_[0]) || rest_[1] != '=') return fail();
        name = rest_[0];
        const std::size_t comma = rest_.find(',');
        const std::string_view value = rest_.substr(2, comma == std::string_view::npos ? comma : comma - 2);
        // A comma at the very end announces an attribute that is not there.
        if (comma == rest_.size() - 1) return fail();
        rest_ = comma == std::string_view::npos ? std::string_view{} : rest_.substr(comma + 1);
        return value;
    }
    /// True when everything was read and nothing failed.
    bool done() const noexcept { return !failed_ && rest_.empty(); }
    bool failed() const noexcept { return failed_; }
    std::string_view rest() const noexcept { return rest_; }

private:
    std::string_view fail() noexcept {
        failed_ = true;
        rest_ = {};
        return {};
    }
    std::string_view rest_;
    bool failed_ = false;
};

scram_step reply(std::string message) { return {scram_status::reply, std::move(message), {}}; }

/// What PostgreSQL checks of every message of a client. Empty `detail` means it is fine.
std::string_view size_problem(std::string_view data) noexcept {
    if (data.empty()) return "The message is empty.";
    if (data.size() > scram_client_message_max) return "The message is too long.";
    if (data.find('\0') != std::string_view::npos) return "Message length does not match input length.";
    return {};
}

}  // namespace

std::string scram_nonce(std::array<std::uint64_t, 3> random) {
    return base64_encode({reinterpret_cast<const char*>(random.data()), sizeof random});
}

std::optional<sasl_initial_response> parse_sasl_initial_response(byte_view body) noexcept {
    byte_reader reader(body);
    sasl_initial_response first;
    first.mechanism = reader.cstring();
    const std::int32_t length = reader.i32();
    if (reader.failed() || length < -1) return std::nullopt;
    if (length >= 0) first.data = as_text(reader.bytes(static_cast<std::size_t>(length)));
    if (!reader.done()) return std::nullopt;
    return first;
}

scram_server::scram_server(
    scram_verifier verifier, std::string user, std::string server_nonce, std::string_view end_point
)
    : verifier_(std::move(verifier)),
      user_(std::move(user)),
      nonce_(std::move(server_nonce)),
      end_point_(end_point) {}

scram_step scram_server::refuse(auth_error error) {
    phase_ = phase::over;
    return {scram_status::refused, {}, std::move(error)};
}

scram_step scram_server::initial_response(const sasl_initial_response& first) {
    plus_ = first.mechanism == scram_sha_256_plus && !end_point_.empty();
    if (phase_ != phase::start || (!plus_ && first.mechanism != scram_sha_256)) {
        return refuse(
            {sqlstate::protocol_violation, "client selected an invalid SASL authentication mechanism"}
        );
    }
    phase_ = phase::client_first;
    if (!first.data) return reply({});
    return client_first(*first.data);
}

scram_step scram_server::response(std::string_view data) {
    switch (phase_) {
        case phase::client_first:
            return client_first(data);
        case phase::client_final:
            return client_final(data);
        case phase::start:
        case phase::over:
            break;
    }
    return refuse({sqlstate::protocol_violation, "unexpected SASL response"});
}

std::optional<auth_error> scram_server::read_gs2_header(std::string_view data, std::size_t& size) {
    const char flag = data.front();
    std::size_t at = 1;
    if (flag == 'p') {
        if (!plus_) {
            return malformed(
                "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message "
                "includes channel binding data."
            );
        }
        at = std::min(data.find(','), data.size());
        if (!data.starts_with("p=")) return malformed("Expected character \"=\" for attribute \"p\".");
        if (data.substr(2, at - 2) != binding_type) {
            return auth_error{sqlstate::protocol_violation, "unsupported SCRAM channel-binding type"};
        }
    } else if (flag != 'n' && flag != 'y') {
        return malformed("Unexpected channel-binding flag.");
    } else if (plus_) {
        return malformed(
            "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include "
            "channel binding data."
        );
    } else if (flag == 'y' && !end_point_.empty()) {
        // The client could have bound and was told that we cannot: somebody in between took the offer away.
        return auth_error{
            sqlstate::invalid_authorization, "SCRAM channel binding negotiation error",
            "The client supports SCRAM channel binding but thinks the server does not.  "
            "However, this server does support channel binding."};
    }
    const std::string_view rest = data.substr(at);
    if (!rest.starts_with(',')) return malformed("Comma expected.");
    if (rest.starts_with(",a")) {
        return auth_error{
            sqlstate::feature_not_supported, "client uses authorization identity, but it is not supported"};
    }
    if (!rest.starts_with(",,")) return malformed("Unexpected attribute in client-first-message.");
    size = at + 2;
    return std::nullopt;
}

scram_step scram_server::client_first(std::string_view data) {
    if (const auto problem = size_problem(data); !problem.empty()) return refuse(malformed(problem));
    std::size_t header_size = 0;
    if (auto problem = read_gs2_header(data, header_size)) return refuse(std::move(*problem));
    gs2_header_ = data.substr(0, header_size);
    const std::string_view bare = data.substr(header_size);
    if (bare.starts_with('m')) {
        return refuse({sqlstate::feature_not_supported, "client requires an unsupported SCRAM extension"});
    }
    attribute_reader reader(bare);
    reader.read('n');
    const std::string_view client_nonce = reader.read('r');
    for (char name = 0; !reader.failed() && !reader.done();) {
        reader.any(name);
    }
    if (reader.failed()) return refuse(malformed("Attribute expected in client-first-message."));
    if (client_nonce.empty() || client_nonce.size() > scram_nonce_max) {
        return refuse(malformed("The length of the nonce is out of range."));
    }
    if (!is_printable(client_nonce)) {
        return refuse({sqlstate::protocol_violation, "non-printable characters in SCRAM nonce"});
    }
    nonce_.insert(0, client_nonce);
    std::string server_first =
        "r=" + nonce_ + ",s=" + base64_encode(verifier_.salt) + ",i=" + std::to_string(verifier_.iterations);
    auth_message_ = std::string(bare) + ',' + server_first;
    phase_ = phase::client_final;
    return reply(std::move(server_first));
}

scram_step scram_server::client_final(std::string_view data) {
    if (const auto problem = size_problem(data); !problem.empty()) return refuse(malformed(problem));
    attribute_reader reader(data);
    const std::string_view binding = reader.read('c');
    const std::string_view nonce = reader.read('r');
    std::string_view proof_text;
    std::size_t proof_at = 0;
    for (char name = 0; name != 'p' && !reader.failed();) {
        proof_at = data.size() - reader.rest().size();
        proof_text = reader.any(name);
    }
    if (reader.failed()) return refuse(malformed("Attribute expected in client-final-message."));
    if (!reader.done()) return refuse(malformed("Garbage found at the end of client-final-message."));
    if (binding != base64_encode(gs2_header_ + (plus_ ? end_point_ : std::string{}))) {
        if (plus_) return refuse({sqlstate::invalid_authorization, "SCRAM channel binding check failed"});
        return refuse(
            {sqlstate::protocol_violation,
             "unexpected SCRAM channel-binding attribute in client-final-message"}
        );
    }
    if (nonce != nonce_) {
        return refuse({sqlstate::protocol_violation, "invalid SCRAM response", "Nonce does not match."});
    }
    const auto proof = decode_scram_key(proof_text);
    if (!proof) return refuse(malformed("Malformed proof in client-final-message."));

    auth_message_.append(",").append(data.substr(0, proof_at - 1));
    scram_stored_keys fitting{verifier_.stored_key, verifier_.server_key};
    auto client_key = key_behind(*proof, fitting.stored_key);
    for (const scram_stored_keys& other : verifier_.others) {
        if (client_key) break;
        fitting = other;
        client_key = key_behind(*proof, other.stored_key);
    }
    const scram_key signature = scram_hmac(fitting.server_key, auth_message_);
    if (!client_key || verifier_.mock) return refuse(password_failed(user_));
    recovered_ = {verifier_.salt, verifier_.iterations, {*client_key, fitting.server_key}};
    phase_ = phase::over;
    return {scram_status::done, "v=" + base64_encode(as_text(signature)), {}};
}

/// The ClientKey in `proof`, if it is the one that `stored_key` was made from.
std::optional<scram_key> scram_server::key_behind(const scram_key& proof, const scram_key& stored_key) const {
    const scram_key client_key = scram_mix(proof, scram_hmac(stored_key, auth_message_));
    if (!scram_equal(scram_hash(as_text(client_key)), stored_key)) return std::nullopt;
    return client_key;
}

scram_client::scram_client(
    std::string_view password, std::string client_nonce, scram_key_cache& cache, std::string_view end_point,
    std::uint32_t max_iterations
)
    : password_(password),
      nonce_(std::move(client_nonce)),
      cache_(&cache),
      end_point_(end_point),
      max_iterations_(max_iterations) {}

scram_client::scram_client(const scram_login_keys& keys, std::string client_nonce, std::string_view end_point)
    : nonce_(std::move(client_nonce)),
      login_keys_(&keys),
      end_point_(end_point),
      max_iterations_(scram_max_iterations) {}

scram_client::~scram_client() { OPENSSL_cleanse(password_.data(), password_.size()); }

scram_step scram_client::refuse(std::string message) {
    phase_ = phase::over;
    return {scram_status::refused, {}, {sqlstate::protocol_violation, std::move(message)}};
}

scram_step scram_client::mechanisms(byte_view offered) {
    if (phase_ != phase::start) return refuse("unexpected SASL request");
    byte_reader reader(offered);
    bool plain = false;
    bool plus = false;
    while (true) {
        const std::string_view name = reader.cstring();
        if (reader.failed()) return refuse("malformed list of SASL mechanisms");
        if (name.empty()) break;
        plain = plain || name == scram_sha_256;
        plus = plus || name == scram_sha_256_plus;
    }
    if (!reader.done()) return refuse("malformed list of SASL mechanisms");
    plus_ = plus && !end_point_.empty();
    if (!plus_ && !plain) {
        return refuse("none of the server's SASL authentication mechanisms are supported");
    }
    // `y` tells a server that does offer binding that its offer was taken away on the road.
    gs2_header_ = plus_ ? "p=" + std::string(binding_type) + ",," : end_point_.empty() ? "n,," : "y,,";
    // The server takes the user from the startup packet.
    client_first_bare_ = "n=,r=" + nonce_;
    phase_ = phase::server_first;
    return reply(gs2_header_ + client_first_bare_);
}

scram_step scram_client::server_first(std::string_view data) {
    if (phase_ != phase::server_first) return refuse("unexpected SASL continuation");
    if (data.size() > scram_server_message_max) return refuse("malformed SCRAM message (too long)");
    attribute_reader reader(data);
    const std::string_view nonce = reader.read('r');
    const std::string_view salt_text = reader.read('s');
    const std::string_view rounds = reader.read('i');
    if (!reader.done()) return refuse("malformed SCRAM message (server-first-message)");
    if (nonce.size() > scram_nonce_max || !is_printable(nonce)) {
        return refuse("malformed SCRAM message (invalid nonce)");
    }
    if (nonce.size() <= nonce_.size() || !nonce.starts_with(nonce_)) {
        return refuse("invalid SCRAM response (nonce mismatch)");
    }
    const auto salt = base64_decode(salt_text);
    if (!salt || salt->empty() || salt->size() > scram_salt_max) {
        return refuse("malformed SCRAM message (invalid salt)");
    }
    std::uint32_t iterations = 0;
    const char* const end = rounds.data() + rounds.size();
    const auto [stop, failed] = std::from_chars(rounds.data(), end, iterations);
    if (failed != std::errc{} || stop != end || iterations == 0 || iterations > max_iterations_) {
        return refuse("malformed SCRAM message (invalid iteration count)");
    }
    if (login_keys_ != nullptr && (login_keys_->salt != *salt || login_keys_->iterations != iterations)) {
        return refuse("the server's SCRAM verifier is not the one that the client's keys belong to");
    }
    const scram_client_keys keys =
        login_keys_ != nullptr ? login_keys_->keys : cache_->get(password_, as_bytes(*salt), iterations);
    std::string final_message =
        "c=" + base64_encode(gs2_header_ + (plus_ ? end_point_ : std::string{})) + ",r=" + std::string(nonce);
    std::string auth_message = client_first_bare_ + ',';
    auth_message.append(data).append(",").append(final_message);
    const scram_key stored_key = scram_hash(as_text(keys.client_key));
    const scram_key proof = scram_mix(keys.client_key, scram_hmac(stored_key, auth_message));
    server_signature_ = scram_hmac(keys.server_key, auth_message);
    final_message += ",p=" + base64_encode(as_text(proof));
    phase_ = phase::server_final;
    return reply(std::move(final_message));
}

scram_step scram_client::server_final(std::string_view data) {
    if (phase_ != phase::server_final) return refuse("unexpected SASL completion");
    if (data.size() > scram_server_message_max) return refuse("malformed SCRAM message (too long)");
    attribute_reader reader(data);
    if (data.starts_with('e')) {
        const std::string_view reason = reader.read('e');
        return refuse("error received from server in SCRAM exchange: " + std::string(reason));
    }
    const auto signature = decode_scram_key(reader.read('v'));
    if (!reader.done() || !signature) return refuse("malformed SCRAM message (invalid server signature)");
    if (!scram_equal(*signature, server_signature_)) return refuse("incorrect server signature");
    phase_ = phase::over;
    return {scram_status::done, {}, {}};
}

}  // namespace pgmend::protocol
