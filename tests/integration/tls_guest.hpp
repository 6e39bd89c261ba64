#pragma once
// The client's side of one TLS 1.3 handshake, by hand: one group (X25519), one cipher, one key pair for all,
// and no look at the certificate. A server has all of its work with it and this side a small part, so that
// many can be made beside what is measured. For tests that want to be a burden: it proves nothing about who
// it speaks to. Source: RFC 8446, sections 4, 5 and 7.

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

/// What all guests of a program share. Ends the program when OpenSSL lacks something.
class tls_guest_kit {
public:
    tls_guest_kit();
    /// A ClientHello as it goes over the wire.
    const std::string& hello() const { return hello_; }

private:
    friend class tls_guest;
    std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_{
        EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"), &EVP_PKEY_free};
    std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> hash_{
        EVP_MD_fetch(nullptr, "SHA384", nullptr), &EVP_MD_free};
    std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)> cipher_{
        EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr), &EVP_CIPHER_free};
    std::string hello_;
};

class tls_guest {
public:
    explicit tls_guest(const tls_guest_kit& kit)
        : kit_(kit), transcript_(kit.hello().substr(record_header)) {}

    /// Bytes of the server, in any pieces. What is to be sent to it is added to `out`, what it says inside to
    /// `said`. False when it speaks something else, or refuses.
    bool take(std::string_view bytes, std::string& out, std::string& said);
    /// The handshake is done on this side.
    bool ready() const { return ready_; }
    /// A record for the server, once it is ready.
    std::string sealed(std::string_view text) { return seal(text, application_data, write_); }

private:
    static constexpr std::size_t record_header = 5, tag_size = 16, nonce_size = 12, hash_size = 48,
                                 key_size = 32;
    static constexpr unsigned char alert = 21, handshake = 22, application_data = 23;

    /// One direction: its key, and the number of the record that is next.
    struct direction {
        std::string key, iv;
        std::uint64_t sequence = 0;
        std::string nonce();
    };

    std::string digest(std::string_view text) const;
    std::string keyed(std::string_view key, std::string_view text) const;
    std::string expand(
        std::string_view secret, std::string_view label, std::string_view context, std::size_t size
    ) const;
    direction traffic(const std::string& secret) const;
    bool open(std::string_view record, direction& from, std::string& text, unsigned char& type) const;
    std::string seal(std::string_view text, unsigned char type, direction& to) const;
    bool greeted(std::string_view server_hello);
    bool finish(std::string& out);
    std::size_t next_message() const;

    const tls_guest_kit& kit_;
    std::string unread_;      ///< not yet a whole record
    std::string messages_;    ///< of the handshake, not yet whole
    std::string transcript_;  ///< all messages of the handshake so far
    std::string handshake_secret_, client_secret_;
    direction read_, write_;
    bool secret_ = false, ready_ = false;
};

// ---- the kit ----------------------------------------------------------------------------------------------

inline tls_guest_kit::tls_guest_kit() {
    std::array<unsigned char, 32> share{};
    std::size_t size = share.size();
    if (!key_ || !hash_ || !cipher_ || EVP_PKEY_get_raw_public_key(key_.get(), share.data(), &size) != 1)
        std::abort();
    const auto two = [](std::size_t value) {
        return std::string{static_cast<char>(value >> 8U), static_cast<char>(value & 0xFFU)};
    };
    const auto sized = [&](const std::string& text) { return two(text.size()) + text; };
    const auto extension = [&](std::size_t type, const std::string& body) { return two(type) + sized(body); };
    const std::string x25519 = two(0x001D), tls_1_3 = two(0x0304), aes_256 = two(0x1302);
    const std::string name = std::string(1, '\0') + sized("localhost");
    const std::string signatures = two(0x0403) + two(0x0804) + two(0x0805) + two(0x0806) + two(0x0401);
    const std::string key(reinterpret_cast<const char*>(share.data()), share.size());
    const std::string extensions = extension(0, sized(name)) + extension(10, sized(x25519)) +
                                   extension(13, sized(signatures)) + extension(43, "\x02" + tls_1_3) +
                                   extension(51, sized(x25519 + sized(key)));
    // Of an old version, without a session to come back to, without compression.
    const std::string body = two(0x0303) + std::string(32, 'r') + std::string(1, '\0') + sized(aes_256) +
                             std::string("\x01\x00", 2) + sized(extensions);
    const std::string message = std::string("\x01\x00", 2) + sized(body);
    hello_ = std::string("\x16\x03\x01") + sized(message);
}

// ---- what it is made of -----------------------------------------------------------------------------------

inline std::string tls_guest::digest(std::string_view text) const {
    std::string made(hash_size, '\0');
    unsigned size = 0;
    EVP_Digest(
        text.data(), text.size(), reinterpret_cast<unsigned char*>(made.data()), &size, kit_.hash_.get(),
        nullptr
    );
    return made;
}

inline std::string tls_guest::keyed(std::string_view key, std::string_view text) const {
    std::string made(hash_size, '\0');
    unsigned size = 0;
    HMAC(
        kit_.hash_.get(), key.data(), static_cast<int>(key.size()),
        reinterpret_cast<const unsigned char*>(text.data()), text.size(),
        reinterpret_cast<unsigned char*>(made.data()), &size
    );
    return made;
}

/// HKDF-Expand-Label; one block of the hash is enough for all that is made by it.
inline std::string tls_guest::expand(
    std::string_view secret, std::string_view label, std::string_view context, std::size_t size
) const {
    std::string what{'\0', static_cast<char>(size), static_cast<char>(label.size() + 6)};
    what.append("tls13 ")
        .append(label)
        .append(1, static_cast<char>(context.size()))
        .append(context)
        .append(1, '\x01');
    return keyed(secret, what).substr(0, size);
}

inline tls_guest::direction tls_guest::traffic(const std::string& secret) const {
    return {expand(secret, "key", {}, key_size), expand(secret, "iv", {}, nonce_size)};
}

inline std::string tls_guest::direction::nonce() {
    std::string made = iv;
    for (std::size_t i = 0; i < 8; ++i)
        made[nonce_size - 1 - i] =
            static_cast<char>(made[nonce_size - 1 - i] ^ static_cast<char>(sequence >> (8 * i)));
    ++sequence;
    return made;
}

inline bool tls_guest::open(std::string_view record, direction& from, std::string& text, unsigned char& type)
    const {
    if (record.size() < record_header + tag_size + 1) return false;
    const std::string nonce = from.nonce();
    const auto* bytes = reinterpret_cast<const unsigned char*>(record.data());
    const auto at = [](const std::string& what) {
        return reinterpret_cast<const unsigned char*>(what.data());
    };
    const int size = static_cast<int>(record.size() - record_header - tag_size);
    text.resize(static_cast<std::size_t>(size));
    int count = 0;
    const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
        EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free
    );
    std::string tag{record.substr(record.size() - tag_size)};
    const bool good =
        EVP_DecryptInit_ex2(context.get(), kit_.cipher_.get(), at(from.key), at(nonce), nullptr) == 1 &&
        EVP_DecryptUpdate(context.get(), nullptr, &count, bytes, record_header) == 1 &&
        EVP_DecryptUpdate(
            context.get(), reinterpret_cast<unsigned char*>(text.data()), &count, bytes + record_header, size
        ) == 1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, tag_size, tag.data()) == 1 &&
        EVP_DecryptFinal_ex(context.get(), nullptr, &count) == 1;
    const std::size_t last = text.find_last_not_of('\0');
    if (!good || last == std::string::npos) return false;
    type = static_cast<unsigned char>(text[last]);
    text.resize(last);
    return true;
}

inline std::string tls_guest::seal(std::string_view text, unsigned char type, direction& to) const {
    const std::string nonce = to.nonce();
    const std::string inner = std::string(text) + static_cast<char>(type);
    const std::size_t size = inner.size() + tag_size;
    std::string record{
        static_cast<char>(application_data), 3, 3, static_cast<char>(size >> 8U),
        static_cast<char>(size & 0xFFU)};
    record.resize(record_header + size);
    auto* bytes = reinterpret_cast<unsigned char*>(record.data());
    const auto at = [](const std::string& what) {
        return reinterpret_cast<const unsigned char*>(what.data());
    };
    int count = 0;
    const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
        EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free
    );
    EVP_EncryptInit_ex2(context.get(), kit_.cipher_.get(), at(to.key), at(nonce), nullptr);
    EVP_EncryptUpdate(context.get(), nullptr, &count, bytes, record_header);
    EVP_EncryptUpdate(
        context.get(), bytes + record_header, &count, at(inner), static_cast<int>(inner.size())
    );
    EVP_EncryptFinal_ex(context.get(), nullptr, &count);
    EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, tag_size, bytes + record_header + inner.size());
    return record;
}

// ---- the handshake ----------------------------------------------------------------------------------------

/// Size of the next whole message of the handshake; 0 when there is none.
inline std::size_t tls_guest::next_message() const {
    if (messages_.size() < 4) return 0;
    const auto byte = [this](std::size_t i) {
        return static_cast<std::size_t>(static_cast<unsigned char>(messages_[i]));
    };
    const std::size_t size = 4 + (byte(1) << 16U) + (byte(2) << 8U) + byte(3);
    return messages_.size() < size ? 0 : size;
}

/// The server's share is the last thing in its greeting of the form 0033 0024 001d 0020 and 32 bytes.
inline bool tls_guest::greeted(std::string_view server_hello) {
    constexpr std::string_view mark("\x00\x33\x00\x24\x00\x1d\x00\x20", 8);
    const std::size_t found = server_hello.find(mark);
    if (found == std::string_view::npos || server_hello.size() < found + mark.size() + 32) return false;
    const auto* share = reinterpret_cast<const unsigned char*>(server_hello.data() + found + mark.size());
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> peer(
        EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, share, 32), &EVP_PKEY_free
    );
    const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> exchange(
        EVP_PKEY_CTX_new(kit_.key_.get(), nullptr), &EVP_PKEY_CTX_free
    );
    std::string common(32, '\0');
    std::size_t size = common.size();
    if (EVP_PKEY_derive_init(exchange.get()) != 1 ||
        EVP_PKEY_derive_set_peer_ex(exchange.get(), peer.get(), 0) != 1 ||
        EVP_PKEY_derive(exchange.get(), reinterpret_cast<unsigned char*>(common.data()), &size) != 1)
        return false;
    const std::string zeros(hash_size, '\0');
    const std::string derived = expand(keyed(zeros, zeros), "derived", digest({}), hash_size);
    handshake_secret_ = keyed(derived, common);
    const std::string so_far = digest(transcript_);
    client_secret_ = expand(handshake_secret_, "c hs traffic", so_far, hash_size);
    write_ = traffic(client_secret_);
    read_ = traffic(expand(handshake_secret_, "s hs traffic", so_far, hash_size));
    secret_ = true;
    return true;
}

inline bool tls_guest::finish(std::string& out) {
    const std::string so_far = digest(transcript_);
    const std::string proof = keyed(expand(client_secret_, "finished", {}, hash_size), so_far);
    out += seal(std::string{20, 0, 0, static_cast<char>(hash_size)} + proof, handshake, write_);
    const std::string derived = expand(handshake_secret_, "derived", digest({}), hash_size);
    const std::string master = keyed(derived, std::string(hash_size, '\0'));
    write_ = traffic(expand(master, "c ap traffic", so_far, hash_size));
    read_ = traffic(expand(master, "s ap traffic", so_far, hash_size));
    ready_ = true;
    return true;
}

inline bool tls_guest::take(std::string_view bytes, std::string& out, std::string& said) {
    constexpr char server_hello = 2, finished = 20;
    unread_ += bytes;
    for (;;) {
        if (unread_.size() < record_header) return true;
        const auto byte = [this](std::size_t i) {
            return static_cast<std::size_t>(static_cast<unsigned char>(unread_[i]));
        };
        const std::size_t size = record_header + (byte(3) << 8U) + byte(4);
        if (unread_.size() < size) return true;
        std::string text = unread_.substr(record_header, size - record_header);
        auto type = static_cast<unsigned char>(unread_[0]);
        if (type == application_data &&
            !(secret_ && open(std::string_view(unread_).substr(0, size), read_, text, type)))
            return false;
        unread_.erase(0, size);
        if (type == alert) return false;
        if (type == application_data) said += text;
        if (type != handshake || ready_) continue;  // tickets
        messages_ += text;
        while (const std::size_t whole = next_message()) {
            transcript_ += messages_.substr(0, whole);
            const std::string what = messages_.substr(0, whole);
            messages_.erase(0, whole);
            if (what[0] == server_hello && !greeted(what)) return false;
            if (what[0] == finished) return finish(out);
        }
    }
}
