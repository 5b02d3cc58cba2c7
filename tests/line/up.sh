#!/bin/bash
# HylaFAX and its modems, inside a mount and process namespace of their own: tests/line/exchange.py starts it.
#   $FOLDER has hylafax/ (the spool), etc/ (its configuration), iaxmodem/ (the modems' configuration)
#   $MODEMS names of the two modems    $PORT where hfaxd listens on 127.0.0.1
set -eu
read -r a b <<<"$MODEMS"
mount --bind "$FOLDER/hylafax" /var/spool/hylafax
mount --bind "$FOLDER/etc" /etc/hylafax
mount --bind "$FOLDER/etc" /var/spool/hylafax/etc
mount --bind "$FOLDER/iaxmodem" /etc/iaxmodem
mount --bind "$FOLDER/log" /var/log/iaxmodem
mount -t tmpfs -o mode=1777 tmpfs /run/lock
# iaxmodem listens on every address and takes any call: it gets a network that has nothing but its own loopback.
# Its sound must be on time on a busy machine too: it may go before others, where that is allowed.
first=$(chrt -r 5 true 2>/dev/null && echo "chrt -r 5" || { nice -n -15 true 2>/dev/null && echo "nice -n -15"; } || true)
# A modem that was killed comes back, unless a file says that it is not to.
modem() {
    while :; do
        while [ -e "$FOLDER/dead.$1" ]; do sleep 0.1; done
        rm -f "/dev/$1"
        $first iaxmodem "$1" || true
    done
}
export -f modem
export first
unshare -n bash -c "ip link set lo up; for name in $a $b; do modem \$name & done; wait" &
for modem in "$a" "$b"; do
    for _ in $(seq 100); do [ -e "/dev/$modem" ] && break; sleep 0.1; done
    [ -e "/dev/$modem" ] || { echo "no /dev/$modem" >&2; exit 1; }
done
$first faxq
# What a modem says before faxq listens is lost, and the modem is never used.
for _ in $(seq 100); do [ -p /var/spool/hylafax/FIFO ] && break; sleep 0.1; done
sleep 0.5
$first hfaxd -d -l 127.0.0.1 -i "$PORT" &
for modem in "$a" "$b"; do $first faxgetty "$modem" & done
wait
