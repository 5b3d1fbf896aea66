/* How configuration keys are written and read by people: private to config.c. Any thread. */
#ifndef DAEMON_CONFIG_TEXT_H
#define DAEMON_CONFIG_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/config.h"

struct json_t;

/* "an integer from 0 to 65535", "one of debug, info" */
void config_expected(const struct config_key *key, char *ret_text, size_t bytes);
/* What was found instead: "a list", "null", the text of a number or a string (its beginning). */
void config_given(const struct json_t *value, char *ret_text, size_t bytes);
/* The key that `name` was probably meant to be, or NULL. */
const char *config_nearest(const struct config_key *keys, const char *name);
/* "4096", "64MiB", "1 TiB": 0, or -EINVAL. */
int config_parse_size(const char *text, int64_t *ret_bytes);

#endif
