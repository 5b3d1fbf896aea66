#include "base/uri.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/buf.h"

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("-._~", c) != NULL;
}

char *uri_escape(const char *text, const char *also_plain)
{
    struct buf b = {0};
    size_t len;

    for (const char *p = text; *p != '\0'; p++) {
        if (is_unreserved(*p) || strchr(also_plain, *p) != NULL) {
            buf_put_u8(&b, (uint8_t)*p);
        } else {
            buf_printf(&b, "%%%02X", (unsigned)(unsigned char)*p);
        }
    }
    buf_put_u8(&b, 0);
    return (char *)buf_detach(&b, &len);
}
