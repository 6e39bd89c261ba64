// What is made of passwords and secrets: preparation, base64, verifiers, md5.

#include "protocol/base64.hpp"
#include "protocol/md5_auth.hpp"
#include "protocol/saslprep.hpp"
#include "protocol/scram_keys.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

using namespace protocol;

void passwords(byte_view input) {
    dice from(input);
    const std::uint8_t what = from.u8();
    const exact_copy copy(from.rest_text());
    const std::string_view text = copy.text();
    switch (what % 4) {
        case 0: {
            const std::string prepared = saslprep(text);
            // NFKC makes one character at most eighteen.
            require(prepared.size() <= 18 * text.size(), "a prepared password is bounded");
            require(saslprep(text) == prepared, "preparation says the same twice");
            const bool ascii = text.find_first_not_of(
                                   " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`"
                                   "abcdefghijklmnopqrstuvwxyz{|}~"
                               ) == text.npos;
            if (ascii) require(prepared == text, "printable ASCII is left alone");
            return;
        }
        case 1: {
            require(base64_decode(base64_encode(text)) == text, "base64 is read back");
            if (const auto decoded = base64_decode(text))
                require(base64_encode(*decoded) == text, "a value has one spelling in base64");
            return;
        }
        case 2: {
            const auto verifier = scram_verifier::parse(text);
            if (!verifier) return;
            const std::string printed = verifier->to_string();
            const auto again = scram_verifier::parse(printed);
            require(again && again->to_string() == printed, "a verifier is read back");
            require(verifier->salt.size() <= scram_salt_max, "a salt is bounded");
            return;
        }
        default: {
            const md5_salt salt{};
            const std::string hash = md5_hash(text, "u");
            if (hash.empty()) return;
            require(is_md5_hash(hash), "a hash looks like one");
            if (is_md5_hash(text)) return;  // taken as the hash it is
            const std::string response = md5_response(text, "u", salt);
            require(md5_verify(hash, "u", salt, response), "the right answer is taken");
            require(!md5_verify(hash, "u", salt, text), "the password itself is no answer");
        }
    }
}

}  // namespace pgmend::fuzz
