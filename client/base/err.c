#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *err_text(int code)
{
    switch (code) {
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        ERR_MAP(X)
#undef X
    case -4095:
        return "end of file"; /* UV_EOF */
    default:
        break;
    }
    if (code < 0 && code > -3000) {
        const char *text = strerrordesc_np(-code);

        return text != NULL ? text : "unknown error";
    }
    return code == 0 ? "no error" : "name or address error"; /* UV_EAI_*: -3000 … */
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    char detail[ERR_MSG_BYTES / 2];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);

    e->code = code;
    snprintf(e->msg, sizeof e->msg, "%s: %s", detail, err_text(code));
    return code;
}

int err_say(struct err *e, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    e->code = code;
    return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    char inner[ERR_MSG_BYTES];
    va_list ap;
    size_t len;

    memcpy(inner, e->msg, sizeof inner);
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    len = strlen(e->msg);
    snprintf(e->msg + len, sizeof e->msg - len, ": %s", inner);
    return e->code;
}

int err_copy(struct err *to, const struct err *from)
{
    *to = *from;
    return to->code;
}
