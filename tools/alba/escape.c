#include "alba/escape.h"

#include <errno.h>
#include <string.h>

#include "base/hex.h"

/* Place for place: what a backslash and this letter stand for. */
static const char letters[] = "ntrb\\\"' ";
static const char meanings[] = "\n\t\r\b\\\"' ";

static void put_byte(struct buf *b, uint8_t byte)
{
    const char *at = byte != 0 ? strchr(meanings, byte) : NULL;
    bool plain = byte >= ' ' && byte <= '~' && byte != '\\';

    if (plain) {
        buf_put_u8(b, byte);
    } else if (at != NULL) {
        buf_put_u8(b, '\\');
        buf_put_u8(b, (uint8_t)letters[at - meanings]);
    } else {
        buf_printf(b, "\\%03u", byte);
    }
}

void escape_put(struct buf *b, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        put_byte(b, bytes.data[i]);
    }
}

json_t *escape_json(struct slice bytes)
{
    struct buf b = {0};
    json_t *text;

    escape_put(&b, bytes);
    text = json_stringn(b.len != 0 ? (const char *)b.data : "", b.len);
    buf_release(&b);
    return text;
}

/* What stands behind a backslash. How many characters of it were used; 0: it is wrong. */
static size_t parse_escape(const char *at, uint8_t *ret_byte)
{
    const char *letter = *at != '\0' ? strchr(letters, *at) : NULL;

    if (letter != NULL) {
        *ret_byte = (uint8_t)meanings[letter - letters];
        return 1;
    }
    if (*at == 'x') {
        char digits[3] = {0};

        memcpy(digits, at + 1, strnlen(at + 1, 2));
        return hex_decode(ret_byte, 1, digits) == 0 ? 3 : 0;
    }
    if (strspn(at, "0123456789") >= 3) {
        unsigned value = (unsigned)((at[0] - '0') * 100 + (at[1] - '0') * 10 + (at[2] - '0'));

        *ret_byte = (uint8_t)value;
        return value <= UINT8_MAX ? 3 : 0;
    }
    return 0;
}

int escape_parse(const char *text, struct buf *ret_bytes, struct err *e)
{
    const char *at = text;

    while (*at != '\0') {
        uint8_t byte = (uint8_t)*at;
        size_t used = 0;

        if (*at == '\\') {
            used = parse_escape(at + 1, &byte);
            if (used == 0) {
                return err_say(e, -EINVAL,
                               "'%.100s', character %zu: want \\n \\t \\r \\b \\\\ \\\", \\ddd "
                               "(decimal, to 255) or \\xHH",
                               text, (size_t)(at - text) + 1);
            }
        }
        buf_put_u8(ret_bytes, byte);
        at += 1 + used;
    }
    return 0;
}
