#include "base/hex.h"

#include <errno.h>
#include <string.h>

void hex_encode(char *ret_text, const void *data, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;

    for (size_t i = 0; i < bytes; i++) {
        *ret_text++ = digits[p[i] >> 4];
        *ret_text++ = digits[p[i] & 15];
    }
    *ret_text = '\0';
}

static int digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int hex_decode(void *ret_data, size_t bytes, const char *text)
{
    uint8_t *out = ret_data;

    if (strlen(text) != 2 * bytes) {
        return -EINVAL;
    }
    for (size_t i = 0; i < bytes; i++) {
        int high = digit(text[2 * i]);
        int low = digit(text[2 * i + 1]);

        if (high < 0 || low < 0) {
            return -EINVAL;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int hex_decode_uuid(uint8_t ret_uuid[16], const char *text)
{
    static const uint8_t dashes[] = {8, 13, 18, 23};
    char digits[33];
    unsigned n = 0;

    if (strlen(text) != 36) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < 36; i++) {
        if (memchr(dashes, (int)i, sizeof dashes) != NULL) {
            if (text[i] != '-') {
                return -EINVAL;
            }
        } else {
            digits[n++] = text[i];
        }
    }
    digits[n] = '\0';
    return hex_decode(ret_uuid, 16, digits);
}

void hex_encode_uuid(char ret_text[37], const uint8_t uuid[16])
{
    static const uint8_t parts[] = {4, 2, 2, 2, 6};
    char *at = ret_text;

    for (unsigned i = 0; i < sizeof parts; i++) {
        hex_encode(at, uuid, parts[i]);
        uuid += parts[i];
        at += 2 * (size_t)parts[i];
        *at++ = i + 1 < sizeof parts ? '-' : '\0';
    }
}
