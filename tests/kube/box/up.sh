#!/usr/bin/env bash
# Starts etcd, kube-apiserver and the small controllers:  up.sh BIN_FOLDER STATE_FOLDER
# BIN_FOLDER is what build.sh filled. STATE_FOLDER must not exist or be empty; it
# gets everything: data, keys, logs, pids, and STATE_FOLDER/kubeconfig (administrator).
# Any number can run side by side. End one with:  down.sh STATE_FOLDER
#
# Environment: KUBE_APISERVER_FLAGS  more flags, separated by spaces, for kube-apiserver
#              KUBE_CONTROLLERS=no   leave the controllers out
#              KUBE_ISSUER=self      tokens name the server's own URL as their issuer, so that
#                                    OpenID Connect discovery leads to it
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: up.sh BIN_FOLDER STATE_FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
[ -x "$1/kubebox" ] || { echo "up: no kubebox in $1: run build.sh $1 first" >&2; exit 1; }
bin=$(cd "$1" && pwd)
umask 077
mkdir -p "$2"
state=$(cd "$2" && pwd)
[ -z "$(ls -A "$state")" ] || { echo "up: $state is not empty: end what runs there with down.sh, then name another folder" >&2; exit 1; }
# A socket path may have 107 bytes.
[ ${#state} -le 90 ] || { echo "up: $state is too long for a socket in it" >&2; exit 1; }

token=$(openssl rand -hex 24)
echo "$token,admin,admin,system:masters" > "$state/tokens.csv"
openssl genrsa -out "$state/sa.key" 2048 2> /dev/null
openssl rsa -in "$state/sa.key" -pubout -out "$state/sa.pub" 2> /dev/null

# start NAME COMMAND...: detached, with its log and a pid file that down.sh can trust.
start() {
  local name=$1; shift
  setsid "$@" > "$state/$name.log" 2>&1 < /dev/null &
  echo "$! $(awk '{print $22}' "/proc/$!/stat" 2> /dev/null)" > "$state/$name.pid"
}
alive() { kill -0 "$(cut -d' ' -f1 "$state/$1.pid")" 2> /dev/null; }
fail() { echo "up: $1; the last lines of its log:" >&2; tail -n 5 "$2" >&2; exit 1; }
trap '"$here/down.sh" "$state"' EXIT

# etcd on Unix sockets: no port to collide on, nobody else to reach it. Tests need no fsync.
start etcd "$bin/etcd" --name test --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls "unix://$state/c.sock" --advertise-client-urls "unix://$state/c.sock" \
  --listen-peer-urls "unix://$state/p.sock" --initial-advertise-peer-urls "unix://$state/p.sock" \
  --initial-cluster "test=unix://$state/p.sock"

for attempt in 1 2 3 4 5; do
  port=$("$bin/kubebox" free-port)
  server=https://127.0.0.1:$port
  issuer=https://kubernetes.default.svc.cluster.local
  [ "${KUBE_ISSUER:-}" != self ] || issuer=$server
  # shellcheck disable=SC2086  # the extra flags are meant to be split
  start kube-apiserver "$bin/kube-apiserver" --etcd-servers "unix://$state/c.sock" \
    --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "$port" --cert-dir "$state/cert" \
    --token-auth-file "$state/tokens.csv" --authorization-mode Node,RBAC \
    --enable-admission-plugins NodeRestriction \
    --service-account-issuer "$issuer" \
    --service-account-signing-key-file "$state/sa.key" --service-account-key-file "$state/sa.pub" \
    --service-cluster-ip-range 10.0.0.0/24 --endpoint-reconciler-type none \
    ${KUBE_APISERVER_FLAGS:-}
  for _ in $(seq 600); do
    ready=$(curl -s -m 5 --cacert "$state/cert/apiserver.crt" -H @- "$server/readyz" \
      <<< "Authorization: Bearer $token" 2> /dev/null || true)
    [ "$ready" = ok ] && break 2
    alive etcd || fail "etcd ended" "$state/etcd.log"
    alive kube-apiserver || break
    sleep 0.1
  done
  alive kube-apiserver && fail "kube-apiserver was not ready after a minute" "$state/kube-apiserver.log"
  if ! grep -q 'address already in use' "$state/kube-apiserver.log" || [ "$attempt" = 5 ]; then
    fail "kube-apiserver ended" "$state/kube-apiserver.log"
  fi
done

cat > "$state/kubeconfig" << EOF
apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "$server", certificate-authority-data: $(base64 -w0 "$state/cert/apiserver.crt")}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
EOF
if [ "${KUBE_CONTROLLERS:-yes}" != no ]; then
  start controllers "$bin/controllers" --kubeconfig "$state/kubeconfig"
  # Pods are refused until their service account is there.
  for attempt in $(seq 100); do
    "$bin/kubectl" --kubeconfig "$state/kubeconfig" get serviceaccount default > /dev/null 2>&1 && break
    if [ "$attempt" = 100 ] || ! alive controllers; then
      fail "the controllers made no service account" "$state/controllers.log"
    fi
    sleep 0.1
  done
fi
trap - EXIT
echo "ready: $server"
echo "export KUBECONFIG=$state/kubeconfig"
