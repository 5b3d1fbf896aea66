/* A daemon's JSON configuration, read by a table of its keys into a struct of the daemon.
 *
 *   struct my_config { char *home; int64_t port; struct { bool present; char *cert; } tls; };
 *   static const struct config_key tls_keys[] = {
 *       {.name = "cert", .type = CONFIG_PATH, .flags = CONFIG_REQUIRED,
 *        .offset = CONFIG_AT(struct my_config, tls.cert), .help = "PEM file"},
 *       {0}};
 *   static const struct config_key keys[] = {
 *       {.name = "home", .type = CONFIG_PATH, .flags = CONFIG_REQUIRED,
 *        .offset = CONFIG_AT(struct my_config, home), .help = "directory of the store"},
 *       {.name = "port", .type = CONFIG_INT, .min = 0, .max = 65535, .default_json = "8000",
 *        .offset = CONFIG_AT(struct my_config, port), .help = "…"},
 *       {.name = "tls", .type = CONFIG_OBJECT, .keys = tls_keys,
 *        .offset = CONFIG_AT(struct my_config, tls.present), .help = "…"},
 *       {0}};
 *
 * An unknown key is an error that names the nearest known one. A null means the default, where
 * there is one. What the configuration holds is
 * owned by the struct; free it with config_release(). Any thread; blocks. */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum { CONFIG_FILE_BYTES_MAX = 1048576 };
#define CONFIG_NONE INT64_MIN /* an INT or SIZE that is null, or absent without a default */

enum config_type {
    CONFIG_STRING = 1, /* char *; NULL when null, or absent without a default */
    CONFIG_PATH,       /* char *; absolute */
    CONFIG_INT,        /* int64_t in [min, max] */
    CONFIG_SIZE,       /* int64_t bytes in [min, max]: a number, or "64MiB" (KiB … TiB) */
    CONFIG_BOOL,       /* bool; no null */
    CONFIG_FLOAT,      /* double in [min, max] (integers here); NAN when null or absent */
    CONFIG_STRINGS,    /* struct config_strings; empty when absent */
    CONFIG_OBJECT,     /* bool: whether it was given; its `keys` are filled either way */
    CONFIG_JSON        /* struct json_t * (jansson), any value; NULL when null or absent */
};

enum config_flags {
    CONFIG_REQUIRED = 1, /* inside an object: when the object is there */
    CONFIG_LIVE = 2,     /* a reload may change it */
    CONFIG_UNUSED = 4,   /* accepted with a warning, whatever its value; no offset */
    CONFIG_FIXED = 8,    /* anything but the default is refused; `help` says why */
    CONFIG_NULLABLE = 16 /* null is a value of its own, although there is a default */
};

struct config_strings {
    char **items;
    unsigned count;
};

struct config_key {
    const char *name; /* a table ends with NULL */
    enum config_type type;
    unsigned flags;
    size_t offset;            /* from the start of the outermost struct: CONFIG_AT() */
    int64_t min;              /* INT, SIZE, FLOAT; */
    int64_t max;              /* both 0: no bounds, but not negative */
    const char *default_json; /* NULL: none, see the types */
    const char *help;
    const char *const *choices;    /* STRING: the allowed ones, NULL at the end; or NULL */
    const struct config_key *keys; /* OBJECT */
};

#define CONFIG_AT(type, member) offsetof(type, member)

/* Read `url` (a path, or file://PATH) into the struct at `ret_config`, which is overwritten.
 * On failure nothing is left to release, and *e names file, key and what was expected (code
 * ERR_CONFIG, or that of the failed read). */
int config_load(const struct config_key *keys, const char *url, void *ret_config,
                size_t config_bytes, struct err *e);
/* As config_load(), from text; `name` stands for the file in messages. */
int config_parse(const struct config_key *keys, const char *name, const char *text,
                 size_t text_bytes, void *ret_config, size_t config_bytes, struct err *e);
void config_release(const struct config_key *keys, void *config);

/* Calls back for each key whose value differs; `path` is "tls.cert". Returns how many. */
typedef void (*config_change_cb)(void *ctx, const char *path, const struct config_key *key);
unsigned config_diff(const struct config_key *keys, const void *old, const void *new,
                     config_change_cb cb, void *ctx);
/* One paragraph per key: name, type, bounds, default, help. */
void config_print_help(const struct config_key *keys, FILE *out);

#endif
