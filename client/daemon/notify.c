#include "daemon/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TEXT_BYTES = 512 };

int notify_send(const char *fmt, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char text[TEXT_BYTES];
    size_t path_bytes;
    va_list ap;
    int fd;
    int rc = 0;

    if (path == NULL || *path == '\0') {
        return 0;
    }
    path_bytes = strlen(path);
    if ((*path != '/' && *path != '@') || path_bytes >= sizeof sa.sun_path) {
        return -EINVAL;
    }
    memcpy(sa.sun_path, path, path_bytes);
    if (*path == '@') {
        sa.sun_path[0] = '\0'; /* the abstract name space */
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&sa,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_bytes)) < 0) {
        rc = -errno;
    }
    close(fd);
    return rc;
}

uint64_t notify_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");

    if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid())) {
        return 0;
    }
    return strtoull(usec, NULL, 10) / 1000;
}
