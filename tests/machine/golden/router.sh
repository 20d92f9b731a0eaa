PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin
failed=0
batch=
step() { "$@" || { failed=1; printf 'failed: %s\n' "$*" >&2; }; }
find_ip() { IFS=:; for folder in $PATH; do
    [ ! -x "$folder/ip" ] || { printf '%s' "$folder/ip"; return; }; done; }
ip=$(find_ip)
queue() { batch="$batch$*
"; }
flush() {
    [ -n "$batch" ] || return 0
    step "$ip" -force -batch - <<END
$batch
END
    batch=
}
put() { [ ! -e "$1" ] || printf '%s\n' "$2" >"$1" || failed=1; }
put /proc/sys/kernel/hostname r1
printf '%s\n' r1 >/etc/hostname || failed=1
printf '%s\n' '127.0.0.1 localhost' '::1 localhost ip6-localhost ip6-loopback' '192.168.1.1 r1' '2001:db8:1::1 r1' '192.168.1.2 r2' >/etc/hosts || failed=1
put /proc/sys/net/ipv4/ip_forward 1
put /proc/sys/net/ipv6/conf/all/forwarding 1
put /proc/sys/net/ipv6/conf/default/forwarding 1
for file in /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv6/conf/*/accept_dad; do
    put "$file" 0
done
moved=
for folder in /sys/class/net/*; do
    [ -e "$folder/device" ] && read -r mac <"$folder/address" || continue
    index=
    case "$mac" in
    52:54:00:00:00:00) index=0 wanted=eth1 ;;
    52:54:00:00:00:01) index=1 wanted=eth0 ;;
    esac
    [ -n "$index" ] && [ "${folder##*/}" != "$wanted" ] || continue
    queue link set dev "${folder##*/}" down
    queue link set dev "${folder##*/}" name netlab-tmp"$index"
    moved="$moved $index"
done
flush
for index in $moved; do
    case "$index" in
    0) queue link set dev netlab-tmp0 name eth1
;;
    1) queue link set dev netlab-tmp1 name eth0
;;
    esac
done
queue link set dev lo up
queue address replace 10.255.0.1/32 dev lo
queue link set dev eth1 mtu 1500
queue address replace 192.168.1.1/24 dev eth1
queue address replace 2001:db8:1::1/64 dev eth1 nodad
queue link set dev eth1 up
queue link set dev eth0 mtu 9000
queue address replace 10.0.0.0/31 dev eth0
queue link set dev eth0 up
queue route replace default via 192.168.1.254
queue route replace 2001:db8:9::/48 via 2001:db8:1::9 dev eth1
flush
read -r name </proc/sys/kernel/hostname
case $name in *[!A-Za-z0-9._-]*) name='?' ;; esac
read -r forward </proc/sys/net/ipv4/ip_forward
printf '{"hostname":"%s","ip_forward":"%s"}\n' "$name" "$forward"
"$ip" -force -j -batch - <<END
address show
route show
END
"$ip" -j -6 route show
exit "$failed"
