/* Structured log lines on stderr: one line per event, stable event text, then keys.
 *
 *   log_info("asd", "store opened", "home=%s keys=%" PRIu64, home, keys);
 *   -> 2026-11-21T09:00:00.123Z info asd: store opened home=/d keys=12
 *
 * Levels: error = someone must act; warn = handled, watch it; info = life events;
 * debug = per request. Control characters in the values are replaced. Never log
 * keys of ciphers or payload. Any thread; a line is one write(2). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_NONE };

void log_set_level(enum log_level level);
enum log_level log_level(void);
/* "debug", "info", "notice" (as info), "warning", "warn", "error", "fatal" (as error);
 * -EINVAL for anything else. */
int log_level_parse(const char *text, enum log_level *ret_level);

/* `fmt` holds "key=%x …" pairs, or is "", which -Wformat takes for a slip. */
#pragma GCC diagnostic ignored "-Wformat-zero-length"
void log_line(enum log_level level, const char *mod, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* Lets one line per `every_ms` through; for what a peer can cause at will.
 * One struct per message, zero-initialised, one thread. Returns true when the
 * caller should log; *ret_skipped = lines held back since the last one. */
struct log_limit {
    unsigned long long next_ms; /* private */
    unsigned long skipped;      /* private */
};
int log_limit_pass(struct log_limit *limit, unsigned every_ms, unsigned long *ret_skipped);

#endif
