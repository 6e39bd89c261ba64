#include "protocol/saslprep.hpp"

#include <catch2/catch.hpp>

#include "protocol/scram_keys.hpp"

using namespace pgmend::protocol;

TEST_CASE("saslprep: the examples of RFC 4013", "[protocol]") {
    CHECK(saslprep("I\u00adX") == "IX");
    CHECK(saslprep("user") == "user");
    CHECK(saslprep("USER") == "USER");
    CHECK(saslprep("\u00aa") == "a");
    CHECK(saslprep("\u2168") == "IX");
    // Forbidden: taken as they are.
    CHECK(saslprep("\x07") == "\x07");
    CHECK(saslprep("\u06271") == "\u06271");
}

TEST_CASE("saslprep: what PostgreSQL stored for a password fits what we make of it", "[protocol]") {
    struct row {
        std::string_view password;
        std::string_view verifier;  ///< of PostgreSQL 15, for CREATE ROLE ... PASSWORD U&'...'
    };
    const row rows[] = {
        {"s\u00e9cret",
         "SCRAM-SHA-256$4096:FycsnuFfHcfYL7Em9Wmp7g==$"
         "xmB49GpVb3TbATKhR/QW/YDZdDI+Qi+INSspMzY/Lxk=:loMOdRvd9Hm0ZXgITtA3ph66aXdM5GXjRKVdoIgMoTU="},
        {"se\u0301cret",
         "SCRAM-SHA-256$4096:du0cyuZeA8L5mdjNExpp1Q==$"
         "2xFAsQPeX5tX8ZJRs44rP0VFc04Y/yRjY7fO4sgwObw=:fvYjuiS98KTFyFm4ORhGdMZETRWqbEyRkOchDWZqlwc="},
        {"\ufb01n",
         "SCRAM-SHA-256$4096:AtFaFKGap7zTIA2I1Uunhw==$"
         "vFUpW6H3MV5HQ0rhpQ+d32t3woVRNQgs7zKtex8m/fU=:s1dMqDsWxSMMGqzQoxZbkLrvCkInx/AKPvM2X4EVrXQ="},
        {"I\u00adX",
         "SCRAM-SHA-256$4096:TmUyqSMgiLr8JcJHwed8HA==$"
         "GKaTawpF2JzQIfdCkz7zEXXWTIGZ1UipgABhVz795Go=:JKgm0RjfCvAm1qN9CFz6t6ZsaBiv0ubT8AjhlvD80bA="},
        {"a\u00a0b",
         "SCRAM-SHA-256$4096:hUXiCswVnZ5uxLPhsK8dtQ==$"
         "UrQTdDnOqRI/x6o00pzYKvbk+isFFl/3jNFeW+H9JCk=:Nqxl2BoWtW1wp6P7LiqntlYb1PXi0uiaac747qpptEI="},
        {"\u2168",
         "SCRAM-SHA-256$4096:d810sEKa+6V9YeWtgODM2g==$"
         "jQJYlIqYN4+BdgHkaKM3cn4GMpRijXhz6CL8xcZPht4=:e9fzFuoHOVPmezma0uSMxVJ+XFMU79KvV/UpwcZ3exk="},
        {"\u06271",
         "SCRAM-SHA-256$4096:zcn6KHQU9E1CJ3OsmyRmLg==$"
         "hMqT0aqI3W9kts+Q9bmLNYmHz5bg1wrvlBdRawVyIdo=:A2lRK34kT5+5iQScAmiFfC2iFah/CeXb7+CPYim3NpI="},
        {"\u0627a",
         "SCRAM-SHA-256$4096:DadesqI/wK0Cs8U4YY4Lug==$"
         "N2BTTWNg3MDP2IbmqJ8k51Q3+ZDG1E5TvbGl/MB7dxo=:rd8sSDLXEZEriWO4/aFBgRobXwU9ezXUKura28wARm4="},
        {"\ud55c\u1112\u1161\u11ab",
         "SCRAM-SHA-256$4096:JOV3hKbRB7xdEGNrTUV01w==$"
         "xnmT4Z7C0qXkgPGppX/3PmLlt6C4m8tPhmCF6l/EQik=:5qISKnL5+zlUCR615XJJIBpjxpZ3xAaw8Bis9IeuJHs="},
        {"\x07"
         "x",
         "SCRAM-SHA-256$4096:IDZ8+NhOS/0dpSoITcMvQg==$"
         "dxTzshddchLzTBkTb/QcWS3ylHc4pDKEl5cKYfBJsgw=:OBeUA+3baiXWLwF5O/nD0TTl95IFhj+ltz3rWDCwzew="},
        {"\u0221",
         "SCRAM-SHA-256$4096:TaR1plAlet2iDvlHvduelQ==$"
         "I16OsKCF2XPA73EPNzbrG0JBqyMRcQPccE6BOmhkzVg=:SeWc6i4tLtwP3m1atHHBFONwwjtSQE+pjB2Am3g2nfM="},
        {"\u00aa",
         "SCRAM-SHA-256$4096:0Vt3yBfh6pO/ahVAsrkE2g==$"
         "U6XXP2vplv9PLNetcfc6wgmm1VBxzbqHR93SmKBAy/Q=:zs4jQZwZcjr8Z28el+4Ti6Q4JnyqHuFuosTIMeJu9hY="},
    };
    for (const row& given : rows) {
        const auto verifier = scram_verifier::parse(given.verifier);
        REQUIRE(verifier);
        INFO(given.password);
        CHECK(scram_verify_password(*verifier, given.password));
    }
}

TEST_CASE("saslprep: letters and their marks are one character in every order", "[protocol]") {
    CHECK(saslprep("e\u0301") == "\u00e9");
    CHECK(saslprep("q\u0307\u0323") == saslprep("q\u0323\u0307"));
    CHECK(saslprep("\u1112\u1161\u11ab") == "\ud55c");
    CHECK(saslprep("\ud55c") == "\ud55c");
    // A composition that Unicode excludes stays apart.
    CHECK(saslprep("\u0958") == "\u0915\u093c");
    // Corrigendum 4, as in PostgreSQL's newer Unicode.
    CHECK(saslprep("\U0002f868") == "\u36fc");
}

TEST_CASE("saslprep: what is not UTF-8 is taken as the bytes it is", "[protocol]") {
    for (const std::string_view bytes :
         {"\x80", "\xc3", "\xc3(", "\xc0\x80", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\x80",
          "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xff", "a\xc2\xad\xc3"}) {
        CHECK(saslprep(bytes) == bytes);
    }
    CHECK(saslprep("").empty());
    // Forbidden although it would become something else: as in PostgreSQL.
    CHECK(saslprep("a\u0340") == "a\u0340");
    // Nothing is left of a soft hyphen, and nothing is no password.
    CHECK(saslprep("\u00ad") == "\u00ad");
}
