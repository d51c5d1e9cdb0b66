# shellcheck shell=bash
# An ordinary user who uses Podman; `podman` is that user's from here on. Sourced by podman*.sh, before steps.bash.

PODMAN_USER=engine

# as COMMAND...: as the user.
as() {
    local home
    home=$(getent passwd "$PODMAN_USER" | cut -d: -f6)
    setpriv --reuid "$PODMAN_USER" --regid "$PODMAN_USER" --init-groups --inh-caps=-all env -i PATH="$USER_PATH" HOME="$home" USER="$PODMAN_USER" \
        XDG_RUNTIME_DIR="/run/user/$(id -u "$PODMAN_USER")" DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$(id -u "$PODMAN_USER")/bus" \
        TERM="${TERM-dumb}" "$@"
}

USER_PATH=$PATH

# make_user: with a range of ids, and a directory for what lives as long as the user is there.
make_user() {
    useradd --create-home --home-dir "/home/$PODMAN_USER" --shell /bin/bash "$PODMAN_USER"
    grep --quiet "^$PODMAN_USER:" /etc/subuid || echo "$PODMAN_USER:1000000:65536" >> /etc/subuid
    grep --quiet "^$PODMAN_USER:" /etc/subgid || echo "$PODMAN_USER:1000000:65536" >> /etc/subgid
    local uid
    uid=$(id -u "$PODMAN_USER")
    if [[ $(</proc/1/comm) == systemd ]]; then
        # A systemd of the user's own, from now on and not from a log-in on.
        loginctl enable-linger "$PODMAN_USER"
        eventually 60 test -S "/run/user/$uid/systemd/private"
    else
        install --directory --mode 755 /run/user
        install --directory --mode 700 --owner "$PODMAN_USER" --group "$PODMAN_USER" "/run/user/$uid"
    fi
    chmod 755 "$WORK"
    # Whoever calls podman by its name from here on is the user.
    mkdir "$WORK/bin"
    {
        echo "#!$BASH"
        declare -f as
        declare -p PODMAN_USER USER_PATH
        echo 'as podman "$@"'
    } > "$WORK/bin/podman"
    chmod 755 "$WORK/bin/podman"
    PATH=$WORK/bin:$PATH
    at_end podman system reset --force
}

# follow_as NAME: the commands of the page, as the user.
follow_as() {
    local text
    text=$(page "$1") || return
    as "$BASH" -euo pipefail -c "$text"
}
