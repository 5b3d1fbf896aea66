#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINE_BYTES = 2048 };

static atomic_int level_now = LOG_INFO; /* the one global: logging has no owner to hand it on */

void log_set_level(enum log_level level)
{
    atomic_store(&level_now, (int)level);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load(&level_now);
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
    static const struct {
        const char *name;
        enum log_level level;
    } names[] = {{"debug", LOG_DEBUG},  {"info", LOG_INFO}, {"notice", LOG_INFO},
                 {"warning", LOG_WARN}, {"warn", LOG_WARN}, {"error", LOG_ERROR},
                 {"fatal", LOG_ERROR}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i].name) == 0) {
            *ret_level = names[i].level;
            return 0;
        }
    }
    return -EINVAL;
}

static int put_prefix(char *line, enum log_level level, const char *mod, const char *event)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    uint64_t now_us = clock_wall_us();
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm t;

    gmtime_r(&seconds, &t);
    return snprintf(line, LINE_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s: %s ",
                    t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec,
                    (int)(now_us / 1000 % 1000), names[level], mod, event);
}

void log_line(enum log_level level, const char *mod, const char *event, const char *fmt, ...)
{
    char line[LINE_BYTES + 1];
    va_list ap;
    int len;

    if (level < log_level() || level >= LOG_NONE) {
        return;
    }
    len = put_prefix(line, level, mod, event);
    if (len > LINE_BYTES - 1) {
        len = LINE_BYTES - 1;
    }
    va_start(ap, fmt);
    len += vsnprintf(line + len, (size_t)(LINE_BYTES - len), fmt, ap);
    va_end(ap);
    if (len > LINE_BYTES - 1) {
        len = LINE_BYTES - 1;
    }
    for (int i = 0; i < len; i++) {
        unsigned char c = (unsigned char)line[i];
        unsigned char next = i + 1 < len ? (unsigned char)line[i + 1] : 0;

        if (c < 0x20 || c == 0x7f) {
            line[i] = '?';
        } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) { /* a C1 control in UTF-8 */
            line[i] = line[i + 1] = '?';
        }
    }
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)len) < 0) {
        return; /* nobody listens, and there is nowhere to say so */
    }
}

int log_limit_pass(struct log_limit *limit, unsigned every_ms, unsigned long *ret_skipped)
{
    unsigned long long now = clock_mono_ms();

    if (now < limit->next_ms) {
        limit->skipped++;
        return 0;
    }
    *ret_skipped = limit->skipped;
    limit->skipped = 0;
    limit->next_ms = now + every_ms;
    return 1;
}
