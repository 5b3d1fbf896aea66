/* The envelope of every value (KEYS.md, "Values"), and keys of bounded size.
 *
 * Any thread. */
#ifndef META_VALUE_H
#define META_VALUE_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { VALUE_VERSION = 1, VALUE_HEAD_BYTES = 5, KEY_BYTES_MAX = 1152 };

/* Whoever fills it has bounded what goes in. */
struct key {
    size_t len;
    uint8_t data[KEY_BYTES_MAX];
};

static inline struct slice slice_key(const struct key *key)
{
    return slice_of(key->data, key->len);
}

void key_put(struct key *key, const void *data, size_t bytes);
void key_put_text(struct key *key, const char *text);
void key_put_u32be(struct key *key, uint32_t v);
void key_put_u64be(struct key *key, uint64_t v);
/* Turn a prefix into the first key behind everything that starts with it. */
void key_prefix_end(struct key *key);
/* Turn a key into the one right behind it. */
void key_next(struct key *key);

/* value_begin(), put the payload, value_end(). Or all at once. */
void value_begin(struct buf *b);
void value_end(struct buf *b, struct slice key);
void value_make(struct buf *b, struct slice key, struct slice payload);
void value_make_json(struct buf *b, struct slice key, const json_t *json);

/* The payload; borrows from `value`. ERR_CORRUPT, ERR_VERSION; the message names the key. */
int value_open(struct slice key, struct slice value, struct rd *ret_payload, struct err *e);
/* A JSON object out of it: a new reference. */
int value_open_json(struct slice key, struct slice value, json_t **ret_json, struct err *e);

/* "reg/osd/x", with what cannot be printed as hex; for messages. */
enum { KEY_TEXT_BYTES = 128 };
void key_text(struct slice key, char ret_text[KEY_TEXT_BYTES]);

#endif
