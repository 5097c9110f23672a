/* A load generator: sends a request repeatedly over keep-alive connections, on each as soon as the
 * previous one is answered: `load --port N --connections N`.
 *
 * Once all connections are open it prints "ready". Then it reads orders, "COUNT LENGTH\n" and a
 * request of that many bytes, and for each prints one line of JSON: when the first request was sent
 * and the last answer ended (CLOCK_MONOTONIC, ns), and the time that each answer took, from its
 * request to its end. A status other than 200, 201 or 202 ends it with that answer on standard error.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 60000
#define SECOND 1000000000

typedef struct {
    int fd;
    uint64_t sent_ns;
    char *held; /* the answer so far */
    size_t length, capacity;
    size_t head, expected; /* bytes of the head, and of the whole answer; 0: not known yet */
    int is_chunked;
} Connection;

static char *request;
static uint64_t *latencies;
static size_t request_length, sent, answered;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static void *grown(void *memory, size_t bytes) {
    memory = realloc(memory, bytes);
    if (!memory) fail("memory");
    return memory;
}

static void send_request(Connection *connection) {
    size_t at = 0;
    sent++;
    connection->length = connection->head = connection->expected = 0;
    connection->sent_ns = now();
    while (at < request_length) {
        ssize_t length = send(connection->fd, request + at, request_length - at, MSG_NOSIGNAL);
        if (length < 0) fail("send");
        at += (size_t)length;
    }
}

static void read_head(Connection *connection) {
    char *end = memmem(connection->held, connection->length, "\r\n\r\n", 4);
    if (!end) return;
    end[3] = 0; /* ends the head for strcasestr */
    int status = atoi(connection->held + 9);
    char *length = strcasestr(connection->held, "\ncontent-length:");
    connection->is_chunked = !!strcasestr(connection->held, "\ntransfer-encoding: chunked");
    connection->head = (size_t)(end - connection->held) + 4;
    end[3] = '\n';
    if (status < 200 || status > 202) {
        fprintf(stderr, "refused: %.500s\n", connection->held);
        exit(1);
    }
    if (!connection->is_chunked && !length) {
        fprintf(stderr, "an answer without a length: %.500s\n", connection->held);
        exit(1);
    }
    if (!connection->is_chunked)
        connection->expected = connection->head + strtoul(length + 16, NULL, 10);
}

/* Reads what has arrived; true if it completes the answer. */
static int receive(Connection *connection) {
    if (connection->capacity - connection->length < 32768) {
        connection->capacity = connection->capacity * 2 + 65536;
        connection->held = grown(connection->held, connection->capacity);
    }
    ssize_t received = recv(connection->fd, connection->held + connection->length,
                            connection->capacity - connection->length - 1, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) return 0;
    if (received <= 0) {
        fprintf(stderr, "the server closed a connection\n");
        exit(1);
    }
    connection->length += (size_t)received;
    connection->held[connection->length] = 0;
    if (!connection->head) read_head(connection);
    if (!connection->head) return 0;
    if (!connection->is_chunked) return connection->length >= connection->expected;
    return connection->length - connection->head >= 5 &&
           !memcmp(connection->held + connection->length - 5, "0\r\n\r\n", 5);
}

static int connect_to(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Opens the connections anew that the server has closed since the last order. */
static void reopen_closed(int epoll, int port, Connection *connections, int open) {
    for (int i = 0; i < open; i++) {
        char byte;
        if (connections[i].fd && recv(connections[i].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
            continue;
        if (connections[i].fd) close(connections[i].fd);
        connections[i].fd = connect_to(port);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event);
    }
}

/* Reads an order; the number of requests, or 0 at the end of the input. */
static size_t read_order(void) {
    size_t count;
    if (scanf("%zu %zu", &count, &request_length) != 2) return 0;
    request = grown(request, request_length);
    if (getchar() != '\n' || fread(request, 1, request_length, stdin) != request_length) return 0;
    return count;
}

/* Sends `count` requests; the time of the last answer. */
static uint64_t carry_out(int epoll, Connection *connections, int open, size_t count) {
    uint64_t ended = 0;
    struct epoll_event events[256];
    sent = answered = 0;
    latencies = grown(latencies, count * sizeof *latencies);
    for (int i = 0; i < open && sent < count; i++) send_request(&connections[i]);
    while (answered < count) {
        int ready = epoll_wait(epoll, events, 256, PATIENCE_MS);
        if (!ready) {
            fprintf(stderr, "no answer within %d s\n", PATIENCE_MS / 1000);
            exit(1);
        }
        for (int i = 0; i < ready; i++) {
            Connection *connection = events[i].data.ptr;
            if (!receive(connection)) continue;
            ended = now();
            latencies[answered++] = ended - connection->sent_ns;
            if (sent < count) send_request(connection);
        }
    }
    return ended;
}

int main(int options, char **option) {
    if (options != 5 || strcmp(option[1], "--port") || strcmp(option[3], "--connections")) {
        fprintf(stderr, "usage: load --port N --connections N\n");
        return 2;
    }
    int port = atoi(option[2]), open = atoi(option[4]), epoll = epoll_create1(0);
    Connection *connections = calloc((size_t)open, sizeof *connections);
    reopen_closed(epoll, port, connections, open);
    printf("ready\n");
    fflush(stdout);
    for (size_t count; (count = read_order());) {
        reopen_closed(epoll, port, connections, open);
        uint64_t began = now(), ended = carry_out(epoll, connections, open, count);
        printf("{\"began\":%" PRIu64 ",\"ended\":%" PRIu64 ",\"latencies\":[", began, ended);
        for (size_t i = 0; i < count; i++) printf("%s%" PRIu64, i ? "," : "", latencies[i]);
        printf("]}\n");
        fflush(stdout);
    }
    return 0;
}
