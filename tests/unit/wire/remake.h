/* Decode bytes and, if they hold a message, encode it again: what tests and fuzz targets do
 * with hostile input. */
#ifndef TESTS_UNIT_WIRE_REMAKE_H
#define TESTS_UNIT_WIRE_REMAKE_H

#include <stdint.h>

#include "base/buf.h"

/* Appends to `again` and returns 0, or returns the decoder's error. */
typedef int (*remake_fn)(uint32_t code, struct rd r, struct buf *again);

int remake_asd_request(uint32_t code, struct rd r, struct buf *again); /* version 2, from its id */
int remake_asd_reply(uint32_t code, struct rd r, struct buf *again);   /* a payload */
int remake_proxy_request(uint32_t code, struct rd r, struct buf *again);
int remake_proxy_reply(uint32_t code, struct rd r, struct buf *again); /* a payload */
int remake_manifest(uint32_t code, struct rd r, struct buf *again);    /* code: version to write */
int remake_recovery_info(uint32_t code, struct rd r, struct buf *again);
/* The unpacked record of manifest version `code` (1, 2), so that changed bytes get past snappy. */
int remake_inner(uint32_t code, struct rd r, struct buf *again);
/* The body of a manifest (code 3) or recovery info (code 64), so that they get past the CRC;
 * `again` is the whole record. */
int remake_body(uint32_t code, struct rd r, struct buf *again);

#endif
