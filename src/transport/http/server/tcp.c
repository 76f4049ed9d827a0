/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's own header, since the C library's struct tcp_info ends before what is asked for
 * here; the two do not go together in one file. */
#include "transport/http/server/tcp.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

void tcp_counts_read(int fd, struct tcp_counts *ret)
{
	struct tcp_info info;
	socklen_t len = sizeof info;
	memset(&info, 0, sizeof info);
	memset(ret, 0, sizeof *ret);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return;
	ret->received = info.tcpi_bytes_received;
	ret->acked = info.tcpi_bytes_acked;
	ret->quiet_ms = info.tcpi_last_data_recv;
	(void)ioctl(fd, SIOCINQ, &ret->unread);
	(void)ioctl(fd, SIOCOUTQ, &ret->unacked);
}
