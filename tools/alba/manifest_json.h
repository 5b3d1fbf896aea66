/* A manifest as `alba show-object` prints it: for programs (README.md) and for people. */
#ifndef ALBA_MANIFEST_JSON_H
#define ALBA_MANIFEST_JSON_H

#include <jansson.h>

struct checksum;
struct manifest;

json_t *manifest_json(const struct manifest *m); /* new reference */
void manifest_show(const json_t *manifest);      /* on stdout; takes what manifest_json made */
json_t *checksum_json(const struct checksum *c); /* ["Crc32c","0x…"]; new reference */

#endif
