#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/escape.h"
#include "alba/help.h"
#include "alba/output.h"
#include "alba/verb.h"
#include "base/check.h"
#include "base/mem.h"
#include "daemon/nearest.h"

enum { ATTEMPTS_MAX = 1000 };

/* Options every verb takes, behind its own in the same way. */
enum common {
    COMMON_CONFIG,
    COMMON_ATTEMPTS,
    COMMON_TLS,
    COMMON_JSON,
    COMMON_VERBOSE,
    COMMON_HELP,
    COMMON_COUNT
};

static const struct verb_option common_options[COMMON_COUNT + 1] = {
    [COMMON_CONFIG] = {.name = "config",
                       .arg = "URL",
                       .help = "engine URL of the registry, or a file that holds one (else "
                               "$ALBA_CONFIG)"},
    [COMMON_ATTEMPTS] = {.name = "attempts",
                         .arg = "N",
                         .value_default = "1",
                         .help = "how often to try when the metadata does not answer, a second "
                                 "apart"},
    [COMMON_TLS] = {.name = "tls",
                    .arg = "CA,CERT,KEY",
                    .help =
                        "PEM files, for ASDs, proxies and metadata where TLS is spoken, and for "
                        "what listens at --host (else $ALBA_CLI_TLS)"},
    [COMMON_JSON] = {.name = "to-json", .help = "print one JSON document"},
    [COMMON_VERBOSE] = {.name = "verbose",
                        .letter = 'v',
                        .help = "tell on standard error what is done"},
    [COMMON_HELP] = {.name = "help", .letter = 'h', .help = "print this"}, /* -h may be the host */
};

static_assert((int)COMMON_COUNT < (int)VERB_COMMON_MAX, "room for the end of the list");

/* By its letter, or, where that is 0, by its name. */
static int find(const struct verb_option *options, const char *name, size_t name_len, char letter)
{
    for (int i = 0; options[i].name != NULL; i++) {
        if (name == NULL && letter == 0) {
            break;
        }
        if (letter != 0 ? options[i].letter == letter
                        : strlen(options[i].name) == name_len &&
                              memcmp(options[i].name, name, name_len) == 0) {
            return i;
        }
    }
    return -1;
}

/* It names a proxy, or finds one by the registry. */
static bool names_proxy(const struct verb *verb)
{
    return strcmp(verb->group, "Proxy") == 0 && !verb->wants_registry;
}

static bool is_offered(const struct verb *verb, enum common i)
{
    switch (i) {
    case COMMON_CONFIG:
        return verb->wants_registry || names_proxy(verb);
    case COMMON_ATTEMPTS:
        return verb->wants_registry && find(verb->options, "attempts", 8, 0) < 0;
    case COMMON_TLS:
        return verb->wants_registry || names_proxy(verb) || strcmp(verb->group, "One ASD") == 0;
    default:
        return true;
    }
}

void verb_common_options(const struct verb *verb, struct verb_option ret_options[VERB_COMMON_MAX])
{
    unsigned count = 0;

    for (unsigned i = 0; i < COMMON_COUNT; i++) {
        if (is_offered(verb, i)) {
            struct verb_option o = common_options[i];

            o.letter = find(verb->options, NULL, 0, o.letter) < 0 ? o.letter : 0;
            ret_options[count++] = o;
        }
    }
    ret_options[count] = (struct verb_option){.name = NULL};
}

static int option_index(const struct cli *cli, const char *name)
{
    int i = find(cli->verb->options, name, strlen(name), 0);

    CHECK(i >= 0);
    return i;
}

const char *cli_env(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

const char *cli_option(const struct cli *cli, const char *name)
{
    return cli->option_values[option_index(cli, name)];
}

bool cli_flag(const struct cli *cli, const char *name)
{
    return cli->option_given[option_index(cli, name)];
}

int cli_number(struct cli *cli, const char *name, int64_t min, int64_t max, int64_t *ret_value)
{
    const char *text = cli_option(cli, name);
    char *end;
    long long value;

    if (text == NULL) {
        return err_say(&cli->err, -EINVAL, "--%s is needed", name);
    }
    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max) {
        return max == INT64_MAX
                   ? err_say(&cli->err, -EINVAL, "--%s=%s: want a whole number from %lld on", name,
                             text, (long long)min)
                   : err_say(&cli->err, -EINVAL, "--%s=%s: want a whole number from %lld to %lld",
                             name, text, (long long)min, (long long)max);
    }
    *ret_value = value;
    return 0;
}

int cli_bytes(struct cli *cli, const char *text, struct buf *ret_bytes)
{
    if (cli_flag(cli, "unescape")) {
        return escape_parse(text, ret_bytes, &cli->err);
    }
    buf_put(ret_bytes, text, strlen(text));
    return 0;
}

const char *cli_arg(const struct cli *cli, unsigned index)
{
    return index < cli->positional_count ? cli->positionals[index] : NULL;
}

static int take_attempts(struct cli *cli, const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end != '\0' || value < 1 || value > ATTEMPTS_MAX) {
        return err_say(&cli->err, -EINVAL, "--attempts=%.100s: want a whole number from 1 to %d",
                       text, ATTEMPTS_MAX);
    }
    cli->attempts = (unsigned)value;
    return 0;
}

static int take_common(struct cli *cli, int index, const char *value)
{
    switch (index) {
    case COMMON_CONFIG:
        cli->config = value;
        cli->config_given = true;
        return 0;
    case COMMON_ATTEMPTS:
        return take_attempts(cli, value);
    case COMMON_TLS:
        cli->tls = value;
        return 0;
    case COMMON_JSON:
        cli->to_json = true;
        return 0;
    case COMMON_VERBOSE:
        cli->verbose = true;
        return 0;
    default:
        help_verb(cli->verb, stdout);
        exit(output_flush(cli->verb->name, 0));
    }
}

static int unknown_option(struct cli *cli, const char *word, const char *name, size_t name_len)
{
    const struct verb_option *const tables[] = {cli->verb->options, common_options};
    char *typed = mem_printf("%.*s", (int)name_len, name);
    struct nearest nearest = {0};

    for (unsigned t = 0; t < 2; t++) {
        for (const struct verb_option *o = tables[t]; o->name != NULL; o++) {
            nearest_offer(&nearest, typed, o->name);
        }
    }
    free(typed);
    if (nearest.best != NULL) {
        return err_say(&cli->err, -EINVAL, "unknown option %.100s; did you mean --%s?", word,
                       nearest.best);
    }
    return err_say(&cli->err, -EINVAL, "unknown option %.100s; see alba %s --help%s", word,
                   cli->verb->name,
                   cli->verb->positionals != NULL ? "; behind -- words may begin with -" : "");
}

/* One word that starts with '-'. Uses up the next word when it is the value;
 * *i is the index of the last word used. */
static int take_option(struct cli *cli, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    bool is_long = word[1] == '-';
    const char *name = is_long ? word + 2 : word + 1;
    const char *equals = is_long ? strchr(name, '=') : NULL;
    size_t name_len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    char letter = is_long ? 0 : name[0];
    const struct verb_option *options = cli->verb->options;
    const char *value = equals != NULL ? equals + 1 : NULL;
    int index = find(options, name, name_len, letter);
    bool common = index < 0;

    if (common) {
        options = common_options;
        index = find(options, name, name_len, letter);
        index = index == COMMON_ATTEMPTS && !is_offered(cli->verb, COMMON_ATTEMPTS) ? -1 : index;
    }
    if (index >= 0 && letter != 0 && name[1] != '\0' && options[index].arg != NULL) {
        return err_say(&cli->err, -EINVAL, "%.100s: write -%c %.100s", word, letter, name + 1);
    }
    if (index < 0 || (letter != 0 && name[1] != '\0')) {
        return unknown_option(cli, word, name, name_len);
    }
    if (options[index].arg == NULL && value != NULL) {
        return err_say(&cli->err, -EINVAL, "--%s takes no value", options[index].name);
    }
    if (options[index].arg != NULL && value == NULL) {
        if (*i + 1 >= argc && strcmp(word, "-h") == 0) { /* of a verb whose -h is the host */
            return take_common(cli, COMMON_HELP, NULL);
        }
        if (*i + 1 >= argc) {
            return err_say(&cli->err, -EINVAL, "--%s needs a value", options[index].name);
        }
        value = argv[++*i];
    }
    if (common) {
        return take_common(cli, index, value);
    }
    if (options[index].is_list && cli->option_given[index]) {
        char *both = mem_printf("%s,%s", cli->option_values[index], value);

        free(cli->option_lists[index]);
        value = cli->option_lists[index] = both;
    }
    cli->option_given[index] = true;
    cli->option_values[index] = value;
    return 0;
}

/* How many words "A B [C]" wants; *ret_max for the optional ones too. */
static unsigned count_positionals(const char *text, unsigned *ret_max)
{
    unsigned needed = 0;
    unsigned all = 0;
    bool in_word = false;

    for (const char *p = text; *p != '\0'; p++) {
        if (*p != ' ' && !in_word) {
            all++;
            needed += *p != '[';
        }
        in_word = *p != ' ';
    }
    *ret_max = strstr(text, "…]") != NULL ? VERB_POSITIONALS_MAX : all;
    return needed;
}

/* The first that lacks, of "A B [C]". */
static int too_few_words(struct cli *cli, const char *wanted)
{
    const char *word = wanted;

    for (unsigned i = 0; i < cli->positional_count; i++) {
        word += strcspn(word, " ");
        word += strspn(word, " ");
    }
    return err_say(&cli->err, -EINVAL, "%.*s is missing; usage: alba %s %s",
                   (int)strcspn(word, " "), word, cli->verb->name, wanted);
}

static int too_many_words(struct cli *cli, const char *word, unsigned max)
{
    if (max == VERB_POSITIONALS_MAX) {
        return err_say(&cli->err, -EINVAL, "%.100s: at most %d words at once", word, max);
    }
    return err_say(&cli->err, -EINVAL, "one word too many: %.100s; see alba %s --help", word,
                   cli->verb->name);
}

int cli_parse(struct cli *cli, int argc, char **argv)
{
    const char *wanted = cli->verb->positionals != NULL ? cli->verb->positionals : "";
    bool options_end = false;
    unsigned max;
    unsigned min = count_positionals(wanted, &max);

    cli->attempts = 1;
    cli->config = cli_env("ALBA_CONFIG");
    cli->tls = cli_env("ALBA_CLI_TLS");
    for (int i = 0; cli->verb->options[i].name != NULL; i++) {
        cli->option_values[i] = cli->verb->options[i].value_default;
    }
    for (int i = 0; i < argc; i++) {
        int rc = 0;

        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (!options_end && argv[i][0] == '-' && argv[i][1] != '\0') {
            rc = take_option(cli, argc, argv, &i);
        } else if (cli->positional_count == max) {
            rc = too_many_words(cli, argv[i], max);
        } else {
            cli->positionals[cli->positional_count++] = argv[i];
        }
        if (rc != 0) {
            return rc;
        }
    }
    if (cli->positional_count < min) {
        return too_few_words(cli, wanted);
    }
    return 0;
}
