#include "e2e/nbd_stamp_client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "volumedriver/nbd_proto.h"

enum { REPLY_BYTES_MAX = 65536 };

/* Copy [begin, end) as a string; false when it does not fit or is empty where it may not be. */
static bool take(char *ret_text, size_t size, const char *begin, const char *end)
{
    if (end < begin || (size_t)(end - begin) >= size) {
        return false;
    }
    memcpy(ret_text, begin, (size_t)(end - begin));
    ret_text[end - begin] = '\0';
    return true;
}

int stamp_uri_parse(struct stamp_uri *ret_uri, const char *text, struct err *e)
{
    static const char tcp[] = "nbd://", unix_[] = "nbd+unix:///", query[] = "?socket=";
    struct stamp_uri uri = {0};
    const char *end = text + strlen(text);
    bool good = false;

    if (strncmp(text, tcp, sizeof tcp - 1) == 0) {
        const char *host = text + sizeof tcp - 1;
        const char *slash = strchr(host, '/');
        const char *host_end = slash != NULL ? slash : end;
        const char *colon = memrchr(host, ':', (size_t)(host_end - host));

        good = take(uri.host, sizeof uri.host, host, colon != NULL ? colon : host_end) &&
               take(uri.export, sizeof uri.export, slash != NULL ? slash + 1 : end, end);
        if (colon == NULL) {
            snprintf(uri.port, sizeof uri.port, "10809");
        } else {
            good = good && take(uri.port, sizeof uri.port, colon + 1, host_end);
        }
        good = good && uri.host[0] != '\0' && uri.port[0] != '\0';
    } else if (strncmp(text, unix_, sizeof unix_ - 1) == 0) {
        const char *name = text + sizeof unix_ - 1;
        const char *mark = strstr(name, query);

        good = mark != NULL && take(uri.export, sizeof uri.export, name, mark) &&
               take(uri.host, sizeof uri.host, mark + sizeof query - 1, end);
    }
    if (!good) {
        return err_set(e, -EINVAL,
                       "'%.200s': want nbd://HOST:PORT/EXPORT or "
                       "nbd+unix:///EXPORT?socket=PATH",
                       text);
    }
    *ret_uri = uri;
    return 0;
}

static int connect_unix(const struct stamp_uri *uri, struct err *e)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(uri->host) >= sizeof sun.sun_path) {
        return err_set(e, -EINVAL, "socket path %.200s", uri->host);
    }
    memcpy(sun.sun_path, uri->host, strlen(uri->host) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof sun) != 0) {
        int rc = err_set(e, -errno, "connect to %.200s", uri->host);

        close(fd);
        return rc;
    }
    return fd;
}

static int connect_tcp(const struct stamp_uri *uri, struct err *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int rc = getaddrinfo(uri->host, uri->port, &hints, &found);
    int on = 1;
    int fd;

    if (rc != 0) {
        return err_say(e, -EINVAL, "%.200s: %s", uri->host, gai_strerror(rc));
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        rc = err_set(e, -errno, "connect to %.200s:%s", uri->host, uri->port);
        close(fd);
        fd = rc;
    } else {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    freeaddrinfo(found);
    return fd;
}

static int send_all(struct stamp_client *c, struct iovec *iov, size_t count)
{
    while (count != 0) {
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
        ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        while (n > 0 && count != 0) {
            size_t part = (size_t)n < iov->iov_len ? (size_t)n : iov->iov_len;

            iov->iov_base = (uint8_t *)iov->iov_base + part;
            iov->iov_len -= part;
            n -= (ssize_t)part;
            if (iov->iov_len == 0) {
                iov++;
                count--;
            }
        }
        while (count != 0 && iov->iov_len == 0) {
            iov++;
            count--;
        }
    }
    return 0;
}

int stamp_client_receive(struct stamp_client *c, void *ret_data, size_t bytes)
{
    uint8_t *p = ret_data;

    while (bytes != 0) {
        ssize_t n = recv(c->fd, p, bytes, MSG_WAITALL);

        if (n == 0) {
            return -ECONNRESET;
        }
        if (n > 0) {
            p += n;
            bytes -= (size_t)n;
        } else if (errno != EINTR) {
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
    }
    return 0;
}

/* Replies to NBD_OPT_GO until the last one. */
static int receive_go(struct stamp_client *c, struct err *e)
{
    uint8_t head[NBD_OPTION_REPLY_HEAD_BYTES], data[REPLY_BYTES_MAX];
    uint32_t type, bytes;
    int rc;

    do {
        rc = stamp_client_receive(c, head, sizeof head);
        if (rc != 0) {
            return err_set(e, rc, "handshake");
        }
        type = get_u32be(head + 12);
        bytes = get_u32be(head + 16);
        if (get_u64be(head) != NBD_OPT_REPLY_MAGIC || bytes > sizeof data) {
            return err_set(e, ERR_PROTOCOL, "handshake");
        }
        rc = stamp_client_receive(c, data, bytes);
        if (rc != 0) {
            return err_set(e, rc, "handshake");
        }
        if ((type & 0x80000000) != 0) {
            return err_say(e, ERR_REMOTE, "NBD_OPT_GO refused: %.*s",
                           (int)(bytes < 200 ? bytes : 200), (const char *)data);
        }
        if (type == NBD_REP_INFO && bytes >= 12 && data[0] == 0 && data[1] == NBD_INFO_EXPORT) {
            c->size_bytes = get_u64be(data + 2);
        }
    } while (type != NBD_REP_ACK);
    return 0;
}

static int shake_hands(struct stamp_client *c, const struct stamp_uri *uri, struct err *e)
{
    uint8_t greeting[NBD_GREETING_BYTES];
    struct buf b = {0};
    struct iovec iov;
    size_t name_bytes = strlen(uri->export);
    int rc = stamp_client_receive(c, greeting, sizeof greeting);

    if (rc != 0 || get_u64be(greeting) != NBD_MAGIC || get_u64be(greeting + 8) != NBD_OPTS_MAGIC) {
        return err_set(e, rc != 0 ? rc : ERR_PROTOCOL, "greeting");
    }
    buf_put_u32be(&b, NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES);
    buf_put_u64be(&b, NBD_OPTS_MAGIC);
    buf_put_u32be(&b, NBD_OPT_GO);
    buf_put_u32be(&b, (uint32_t)(4 + name_bytes + 4));
    buf_put_u32be(&b, (uint32_t)name_bytes);
    buf_put(&b, uri->export, name_bytes);
    buf_put(&b, "\0\1\0\3", 4); /* one request: the block sizes */
    iov = (struct iovec){.iov_base = b.data, .iov_len = b.len};
    rc = send_all(c, &iov, 1);
    buf_release(&b);
    return rc != 0 ? err_set(e, rc, "handshake") : receive_go(c, e);
}

int stamp_client_open(struct stamp_client *c, const struct stamp_uri *uri, unsigned timeout_ms,
                      struct err *e)
{
    struct timeval tv = {.tv_sec = timeout_ms / 1000,
                         .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
    int rc;

    *c = (struct stamp_client){.fd = -1, .timeout_ms = timeout_ms};
    rc = uri->port[0] != '\0' ? connect_tcp(uri, e) : connect_unix(uri, e);
    if (rc < 0) {
        return rc;
    }
    c->fd = rc;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    rc = shake_hands(c, uri, e);
    if (rc != 0) {
        close(c->fd);
        c->fd = -1;
    }
    return rc;
}

void stamp_client_close(struct stamp_client *c)
{
    if (c->fd >= 0) {
        (void)stamp_client_send(c, NBD_CMD_DISC, 0, 0, 0, 0, NULL);
        close(c->fd);
        c->fd = -1;
    }
}

int stamp_client_send(struct stamp_client *c, uint16_t type, uint16_t flags, uint64_t cookie,
                      uint64_t offset, uint32_t length, const void *data)
{
    struct nbd_request request = {
        .type = type, .flags = flags, .cookie = cookie, .offset = offset, .length = length};
    uint8_t head[NBD_REQUEST_BYTES];
    struct iovec iov[2] = {{.iov_base = head, .iov_len = sizeof head},
                           {.iov_base = (void *)(uintptr_t)data, .iov_len = length}};

    nbd_request_encode(head, &request);
    return send_all(c, iov, data != NULL ? 2 : 1);
}

int stamp_client_reply(struct stamp_client *c, uint64_t *ret_cookie, uint32_t *ret_error)
{
    uint8_t head[NBD_SIMPLE_REPLY_BYTES];
    int rc = stamp_client_receive(c, head, sizeof head);

    if (rc != 0) {
        return rc;
    }
    if (get_u32be(head) != NBD_SIMPLE_REPLY_MAGIC) {
        return ERR_PROTOCOL;
    }
    *ret_error = get_u32be(head + 4);
    *ret_cookie = get_u64be(head + 8);
    return 0;
}
