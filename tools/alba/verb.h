/* The CLI's verbs: one table that parsing, --help and `alba commands` are made from.
 *
 * A verb computes a JSON result; how it looks on a terminal is a second step, so
 * that --to-json and the readable form cannot tell different stories. One thread. */
#ifndef ALBA_VERB_H
#define ALBA_VERB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

enum { VERB_OPTIONS_MAX = 24, VERB_POSITIONALS_MAX = 128, VERB_COMMON_MAX = 8 };

struct verb_option {
    const char *name; /* "host": given as --host=X or --host X */
    char letter;      /* 'h' for -h X; 0: none */
    const char *arg;  /* "HOST"; NULL: a flag */
    const char *value_default;
    const char *help;
    bool is_list; /* may come again: the values are joined by commas */
};

struct cli;

struct verb {
    const char *name;
    const char *group;       /* as `alba --help` sorts them */
    const char *positionals; /* "NAMESPACE NAME", [X] optional, [X…] any number more */
    const char *summary;
    const char *details;                          /* further help, or NULL */
    struct verb_option options[VERB_OPTIONS_MAX]; /* ended by name NULL */
    /* 0, or a negative code with cli->err set. */
    int (*run)(struct cli *cli);
    /* Prints the result for people; NULL: nothing is printed but "ok" is meant. */
    void (*show)(const struct cli *cli);
    bool wants_registry;      /* takes --config */
    bool fails_with_exit_one; /* --to-json failures exit 1: verbs no older software calls */
};

/* One invocation. */
struct cli {
    const struct verb *verb;
    const char *option_values[VERB_OPTIONS_MAX]; /* NULL: not given, no default */
    bool option_given[VERB_OPTIONS_MAX];
    char *option_lists[VERB_OPTIONS_MAX]; /* owned: values of those that came again */
    const char *positionals[VERB_POSITIONALS_MAX];
    unsigned positional_count;
    const char *config; /* --config, or $ALBA_CONFIG, or NULL */
    bool config_given;  /* --config */
    unsigned attempts;  /* to reach the metadata */
    const char *tls;    /* --tls, or $ALBA_CLI_TLS, or NULL: "CA,CERT,KEY" */
    bool to_json;
    bool verbose;

    int exit_code;  /* set by run(): of a success, or of a --to-json failure; 0: as usual */
    json_t *result; /* set by run(); NULL means {} */
    struct err err; /* set by run() when it fails */
    const char *exception_type; /* README.md, "For programs"; NULL: "unknown" */
    int exception_code;
};

/* Every verb, in order of groups; ends with name NULL. */
extern const struct verb *const verb_tables[];
const struct verb *verb_find(const char *name, struct err *e);
/* The options it takes beside its own; ended by name NULL. */
void verb_common_options(const struct verb *verb, struct verb_option ret_options[VERB_COMMON_MAX]);

/* Value of an option of this verb, or NULL. CHECKs that the verb has the option. */
const char *cli_option(const struct cli *cli, const char *name);
const char *cli_env(const char *name); /* NULL: not set, or empty */
bool cli_flag(const struct cli *cli, const char *name);
/* -EINVAL with the option named when it is no whole number in [min, max]. */
int cli_number(struct cli *cli, const char *name, int64_t min, int64_t max, int64_t *ret_value);
#define CLI_UNESCAPE                                                                               \
    {                                                                                              \
        .name = "unescape",                                                                        \
        .help = "arguments are escaped, as they are printed: \\n \\t \\\\ \\255 (decimal) \\xff"   \
    }
/* An argument as bytes: unescaped if --unescape is given. Appends to *ret_bytes. */
int cli_bytes(struct cli *cli, const char *text, struct buf *ret_bytes);
/* i-th positional argument, or NULL. */
const char *cli_arg(const struct cli *cli, unsigned index);

/* Sets up *cli from the words behind the verb. */
int cli_parse(struct cli *cli, int argc, char **argv);

#endif
