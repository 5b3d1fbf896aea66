/* A manifest as `alba show-object` prints it (WIRE.md section 14). */
#ifndef ALBA_MANIFEST_JSON_H
#define ALBA_MANIFEST_JSON_H

#include <jansson.h>

struct checksum;
struct manifest;

json_t *manifest_json(const struct manifest *m); /* new reference */
json_t *checksum_json(const struct checksum *c); /* ["Crc32c","0x…"]; new reference */

#endif
