/* The keys of a preset's JSON, for the files that read them; nobody else includes this.
 *
 * Each set of keys is a table, which also serves the suggestions for keys that are not
 * in it. Any thread. */
#ifndef POLICY_PRESET_FIELD_H
#define POLICY_PRESET_FIELD_H

#include "policy/preset.h"

enum { PRESET_SHOWN_BYTES = 48 };

struct preset_field {
    const char *key;
    int (*read)(struct preset *p, const json_t *value, struct err *e);
};

/* Every key of `json` (an object) by its reader; `where` stands before the message about a key
 * that has none. */
int preset_fields_read(struct preset *p, const json_t *json, const char *where,
                       const struct preset_field *fields, size_t field_count, struct err *e);

/* The value as the user wrote it, cut short. */
const char *preset_field_shown(char ret_text[PRESET_SHOWN_BYTES], const json_t *value);
int preset_field_bad(struct err *e, const char *field, const json_t *value, const char *accepted);
int preset_field_int(const char *field, const json_t *value, int64_t min, int64_t max,
                     int64_t *ret_value, struct err *e);
int preset_field_bool(const char *field, const json_t *value, bool *ret_value, struct err *e);

#endif
