#include "config/manual.hpp"

#include "config/settings.hpp"

namespace pgmend::config {

namespace {

constexpr std::string_view description = R"(.SH NAME
pgmend.yaml \- settings of pgmend
.SH DESCRIPTION
.B pgmend
reads its settings from, in rising order: their defaults, the variable
.BR DATABASE_URL ,
the file given with
.BR \-\-config ,
and one environment variable for each setting.
The Debian package reads
.IR /etc/pgmend/pgmend.yaml .
.PP
Durations carry a unit (250ms, 15s, 5min, 1h, 1d), sizes too (512B, 64KiB, 1MiB); a bare 0 needs none.
Unknown keys, values out of range and keys given twice are errors, and all of them are reported.
.B pgmend \-\-check
does no more than that, and
.B pgmend \-\-print\-config
shows each value and where it came from.
.SH SETTINGS
)";

constexpr std::string_view ending = R"(.SH FILES
.I /etc/pgmend/pgmend.yaml
.SH SEE ALSO
.BR pgmend (1)
)";

std::string entry(const setting_base& setting) {
    std::string text = ".TP\n.B " + roff(setting.key()) + "\n" + roff(setting.doc()) + "\n.br\n";
    text += "Variable: " + roff(setting.environment_name()) + ".\n";
    const std::string value = setting.shown_default();
    text += "Default: " + (value.empty() ? std::string("empty") : roff(value)) + ".\n";
    text += "Allowed: " + roff(setting.allowed()) + ".\n";
    text += "Takes effect: " + roff(word_of(setting.reload())) + ".\n";
    return text;
}

}  // namespace

std::string roff(std::string_view text) {
    std::string result;
    for (const char each : text) {
        if (each == '\\') {
            result += "\\e";
        } else if (each == '-') {
            result += "\\-";
        } else if ((each == '.' || each == '\'') && (result.empty() || result.back() == '\n')) {
            result.append("\\&").push_back(each);
        } else {
            result += each;
        }
    }
    return result;
}

std::string settings_manual(std::string_view version) {
    const settings defaults;
    std::string text =
        ".\\\" Generated from the declarations in config/settings.hpp by pgmend --print-man.\n";
    text.append(".TH PGMEND.YAML 5 \"\" \"pgmend ").append(version).append("\" \"File Formats\"\n");
    text += description;
    for (const setting_base* each : defaults.all())
        text += entry(*each);
    return text.append(ending);
}

}  // namespace pgmend::config
