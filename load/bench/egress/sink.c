/* The readers of the egress bench: many connected sockets, read as fast as they fill, in one process.
 *
 *     sink BEGIN_NS END_NS SLOW < sockets as a list of descriptors, one a line
 *
 * It knows no protocol: every sample carries a mark, '~' and 16 hexadecimal digits, the moment at which
 * it was due to be published (CLOCK_MONOTONIC, ns). All marks on all sockets are found and counted,
 * also those that a read cuts in two; those due in BEGIN…END are measured. The last SLOW sockets are
 * read at 1 kB/s until END, then as fast as the others, and never measured; what a gateway tells them of
 * their rung (the text "rung" in MessagePack, and its word) is noted. On end of file of standard input it
 * prints one JSON object: samples, bytes, what the slow ones were told, and log-linear histograms (1/64
 * octave for all, 1/16 for each socket's p99).
 *
 * RFC 6455 allows a client's pong at any time: one every 5 s says that we live.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MARK = 17,            /* '~' and its digits */
    CHUNK = 256 * 1024,   /* bytes of one read */
    FINE = 6, COARSE = 4, /* bits below the leading one */
    FINE_SIZE = 64 << FINE, COARSE_SIZE = 64 << COARSE,
    SLOW_BYTES = 100,     /* every 100 ms: 1 kB/s */
};

typedef struct {
    int fd, slow;
    int tail; /* bytes of a mark that the last read cut off */
    int rung_at, told_down, told_up; /* signs of "rung" that have come; who fell; who stands on `every` */
    char kept[MARK];
    uint64_t samples;
    uint32_t *histogram;
} Socket;

static uint64_t fine[FINE_SIZE], samples, due, bytes, closed;
static uint64_t begin_ns, end_ns, last_ns;
static char buffer[MARK + CHUNK];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned bucket(uint64_t microseconds, int bits) {
    if (microseconds < (1u << bits)) return (unsigned)microseconds;
    int top = 63 - __builtin_clzll(microseconds);
    return ((unsigned)(top - bits + 1) << bits) + (unsigned)((microseconds >> (top - bits)) & ((1u << bits) - 1));
}

/* The least value of a bucket, in microseconds. */
static uint64_t value(unsigned index, int bits) {
    unsigned octave = index >> bits, rest = index & ((1u << bits) - 1);
    if (octave == 0) return rest;
    return ((uint64_t)((1u << bits) + rest)) << (octave - 1);
}

static int hexadecimal(const char *text, uint64_t *out) {
    uint64_t number = 0;
    for (int i = 0; i < 16; i++) {
        unsigned c = (unsigned char)text[i], digit;
        if (c >= '0' && c <= '9') digit = c - '0';
        else if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
        else return 0;
        number = number << 4 | digit;
    }
    *out = number;
    return 1;
}

static void take(Socket *s, char *from, size_t length, uint64_t at) {
    char *end = from + length, *p = from;
    s->tail = 0;
    while (p < end && (p = memchr(p, '~', (size_t)(end - p)))) {
        if (end - p < MARK) { /* the next read brings the rest */
            s->tail = (int)(end - p);
            memcpy(s->kept, p, (size_t)s->tail);
            return;
        }
        uint64_t intended;
        if (!hexadecimal(p + 1, &intended)) { p++; continue; }
        p += MARK;
        samples++;
        if (intended < begin_ns || intended >= end_ns) continue;
        due++;
        s->samples++;
        last_ns = at;
        uint64_t us = at > intended ? (at - intended) / 1000 : 0;
        fine[bucket(us, FINE)]++;
        s->histogram[bucket(us, COARSE)]++;
    }
}

/* "\xa4rung", the length of a word, and the word's first sign: `every`, `newest` or `field`. */
static void hear_rung(Socket *s, const char *from, size_t length) {
    static const char word[] = "\xa4rung";
    for (size_t i = 0; i < length; i++) {
        if (s->rung_at == 5) { s->rung_at = 6; continue; }
        if (s->rung_at == 6) {
            s->rung_at = 0;
            s->told_up = from[i] == 'e';
            s->told_down |= from[i] == 'n' || from[i] == 'f';
            continue;
        }
        s->rung_at = from[i] == word[s->rung_at] ? s->rung_at + 1 : from[i] == word[0];
    }
}

/* Returns 0 when the socket is at its end. */
static int drain(Socket *s) {
    memcpy(buffer, s->kept, (size_t)s->tail);
    size_t want = s->slow == 1 ? SLOW_BYTES : CHUNK;
    ssize_t got = recv(s->fd, buffer + s->tail, want, MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return 0;
    if (s->slow) {
        hear_rung(s, buffer + s->tail, (size_t)got);
        s->tail = 0;
        return 1;
    }
    bytes += (uint64_t)got;
    take(s, buffer, (size_t)got + (size_t)s->tail, now());
    return 1;
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 4) { fprintf(stderr, "sink BEGIN_NS END_NS SLOW\n"); return 2; }
    begin_ns = strtoull(argv[1], NULL, 10);
    end_ns = strtoull(argv[2], NULL, 10);
    int slow = atoi(argv[3]), count = 0, room = 0, fd;
    Socket *sockets = NULL;
    char line[32];
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%d", &fd) == 1) {
        if (count == room) sockets = realloc(sockets, sizeof *sockets * (size_t)(room = room ? 2 * room : 64));
        sockets[count++] = (Socket){.fd = fd, .histogram = calloc(COARSE_SIZE, sizeof(uint32_t))};
    }
    int poll = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        Socket *s = &sockets[i];
        s->slow = i >= count - slow;
        if (s->slow) {
            int few = 4096;
            setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &few, sizeof few);
            continue;
        }
        struct epoll_event wish = {.events = EPOLLIN, .data.ptr = s};
        epoll_ctl(poll, EPOLL_CTL_ADD, s->fd, &wish);
    }
    struct epoll_event stop = {.events = EPOLLIN, .data.ptr = NULL}, ready[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, STDIN_FILENO, &stop);
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    printf("reading\n");
    fflush(stdout);
    static const unsigned char pong[6] = {0x8a, 0x80, 0, 0, 0, 0};
    uint64_t pong_at = now() + 5000000000u, slow_at = now();
    for (int over = 0, is_over = 0; !over;) {
        int many = epoll_wait(poll, ready, 256, 50);
        for (int i = 0; i < many; i++) {
            Socket *s = ready[i].data.ptr;
            if (s == NULL) { over = 1; continue; }
            if (!drain(s)) { epoll_ctl(poll, EPOLL_CTL_DEL, s->fd, NULL); closed++; }
        }
        uint64_t at = now();
        if (slow && !is_over && at >= end_ns) { /* 2: it may catch up */
            is_over = 1;
            for (int i = count - slow; i < count; i++) {
                if (sockets[i].fd < 0) continue;
                sockets[i].slow = 2;
                struct epoll_event wish = {.events = EPOLLIN, .data.ptr = &sockets[i]};
                epoll_ctl(poll, EPOLL_CTL_ADD, sockets[i].fd, &wish);
            }
        }
        if (slow && !is_over && at >= slow_at) {
            slow_at += 100000000u;
            for (int i = count - slow; i < count; i++)
                if (sockets[i].fd >= 0 && !drain(&sockets[i])) { close(sockets[i].fd); sockets[i].fd = -1; closed++; }
        }
        if (at >= pong_at) {
            pong_at += 5000000000u;
            for (int i = 0; i < count; i++)
                if (sockets[i].fd >= 0) (void)!send(sockets[i].fd, pong, sizeof pong, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
    uint64_t *p99 = calloc((size_t)count + 1, sizeof *p99);
    int measured = 0;
    for (int i = 0; i < count - slow; i++) {
        uint64_t below = 0, want = sockets[i].samples * 99 / 100;
        if (!sockets[i].samples) continue;
        unsigned b = 0;
        while ((below += sockets[i].histogram[b]) <= want && b < COARSE_SIZE - 1) b++;
        p99[measured++] = value(b, COARSE);
    }
    qsort(p99, (size_t)measured, sizeof *p99, ascending);
    printf("{\"samples\": %" PRIu64 ", \"due\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"closed\": %" PRIu64
           ", \"last_ns\": %" PRIu64 ", \"histogram_us\": [", samples, due, bytes, closed, last_ns);
    const char *comma = "";
    for (unsigned b = 0; b < FINE_SIZE; b++)
        if (fine[b]) { printf("%s[%" PRIu64 ", %" PRIu64 "]", comma, value(b, FINE), fine[b]); comma = ", "; }
    int fell = 0, stand = 0;
    for (int i = count - slow; i < count; i++) { fell += sockets[i].told_down; stand += sockets[i].told_up; }
    printf("], \"slow_told_down\": %d, \"slow_told_every\": %d, \"p99_us_by_socket\": [", fell, stand);
    for (int i = 0; i < measured; i++) printf("%s%" PRIu64, i ? ", " : "", p99[i]);
    printf("]}\n");
    return 0;
}
