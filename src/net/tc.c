/* SPDX-License-Identifier: Apache-2.0 */

#include "net/link.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

/* Before an administrator's filters, whose preference numbers are higher by default. */
#define PRIORITY 1
#define HANDLE   1

static struct nlmsghdr *request(struct rtnl *nl, uint16_t type, uint16_t flags, int ifindex,
				struct tcmsg **ret)
{
	void *extra;
	struct nlmsghdr *nlh = rtnl_request(nl, type, flags, sizeof(struct tcmsg), &extra);

	*ret = extra;
	(*ret)->tcm_family = AF_UNSPEC;
	(*ret)->tcm_ifindex = ifindex;
	return nlh;
}

int tc_add_clsact(struct rtnl *nl, int ifindex)
{
	struct tcmsg *tcm;
	struct nlmsghdr *nlh = request(nl, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ifindex, &tcm);

	tcm->tcm_parent = TC_H_CLSACT;
	tcm->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	mnl_attr_put_strz(nlh, TCA_KIND, "clsact");
	return rtnl_talk(nl, nlh, NULL, NULL);
}

int tc_set_program(struct rtnl *nl, int ifindex, bool ingress, int prog_fd, const char *name)
{
	struct tcmsg *tcm;
	struct nlmsghdr *nlh = request(nl, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, ifindex, &tcm);
	struct nlattr *options;

	tcm->tcm_parent = TC_H_MAKE(TC_H_CLSACT, ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
	tcm->tcm_info = TC_H_MAKE(PRIORITY << 16, htons(ETH_P_ALL));
	tcm->tcm_handle = HANDLE;
	mnl_attr_put_strz(nlh, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(nlh, TCA_OPTIONS);
	mnl_attr_put_u32(nlh, TCA_BPF_FD, (uint32_t)prog_fd);
	mnl_attr_put_strz(nlh, TCA_BPF_NAME, name);
	mnl_attr_put_u32(nlh, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(nlh, options);
	return rtnl_talk(nl, nlh, NULL, NULL);
}
