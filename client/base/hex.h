/* Bytes as text for logs, file names and JSON. Any thread. */
#ifndef BASE_HEX_H
#define BASE_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Lower case; writes 2 * bytes + 1 characters. */
void hex_encode(char *ret_text, const void *data, size_t bytes);
/* Returns 0, or -EINVAL when `text` is not exactly 2 * bytes hex digits. */
int hex_decode(void *ret_data, size_t bytes, const char *text);
/* "8-4-4-4-12" digits, as rnd_uuid_text() writes them; -EINVAL for anything else. */
int hex_decode_uuid(uint8_t ret_uuid[16], const char *text);
void hex_encode_uuid(char ret_text[37], const uint8_t uuid[16]);

#endif
