/* Messages to the service manager, as sd_notify(3) sends them: one datagram to
 * $NOTIFY_SOCKET. No-ops without one. Any thread. */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdint.h>

/* "READY=1\nSTATUS=…"; 0, also without a socket, or a negative errno. */
int notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* How often systemd wants "WATCHDOG=1" from this process, in ms; 0: not at all. */
uint64_t notify_watchdog_ms(void);

#endif
