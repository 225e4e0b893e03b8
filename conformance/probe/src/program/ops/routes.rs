//! What the network namespace has: links, addresses, routes, as NETLINK_ROUTE tells.

use crate::call::Call;
use crate::guard;
use crate::kernel::Answer;
use crate::netlink;

pub(super) fn getifaddrs(call: &mut Call<'_>) -> Answer {
    let (mut links, mut addresses) = (0, 0);
    let listed = netlink::dump(netlink::RTM_GETLINK, &mut |message| {
        if message.kind == netlink::RTM_NEWLINK {
            links += 1;
            call.data.push_item(b",", guard::link_name(message));
        }
    });
    call.step(b"RTM_GETLINK", listed)?;
    let listed = netlink::dump(netlink::RTM_GETADDR, &mut |_| addresses += 1);
    call.step(b"RTM_GETADDR", listed)?;
    call.data.push(b" addresses=");
    call.data.push_unsigned(addresses);
    Ok(links)
}

pub(super) fn route_count(call: &mut Call<'_>) -> Answer {
    const RTN_UNICAST: u8 = 1;
    const RTN_LOCAL: u8 = 2;
    let mut loopback = None;
    netlink::dump(netlink::RTM_GETLINK, &mut |message| {
        if guard::link_name(message) == b"lo" {
            loopback = netlink::word(message.body, 4);
        }
    })?;
    let mut count = 0;
    netlink::dump(netlink::RTM_GETROUTE, &mut |message| {
        let [family, length, _, _, table, _, _, kind, ..] = *message.body else { return };
        let leads_somewhere = matches!(kind, RTN_UNICAST | RTN_LOCAL);
        if message.kind == netlink::RTM_NEWROUTE && leads_somewhere && guard::route_link(message) != loopback
        {
            count += 1;
            let link = guard::route_link(message).unwrap_or(0);
            let parts = [(&b"family="[..], family), (b" length=", length), (b" table=", table)];
            call.data.push_item(b"\n", b"");
            for (name, value) in parts {
                call.data.push(name);
                call.data.push_unsigned(u64::from(value));
            }
            call.data.push(b" link=");
            call.data.push_unsigned(u64::from(link));
        }
    })?;
    Ok(count)
}
