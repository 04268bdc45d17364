"""``calicoctl completion``: what a shell must be told to complete calicoctl's commands with the tab key.

The scripts know nothing of the commands: they ask ``calicoctl __complete`` (:mod:`calicoctl.suggestions`).
"""

from __future__ import annotations

from calicoctl.failure import Failure
from calicoctl.suggestions import SHELLS
from calicoctl.terminal import Terminal
from calicoctl.usage import Usage

USAGE = Usage(
    "[bash|fish|powershell|zsh]",
    "Prints a script for a shell, with which the tab key completes commands, flags, kinds and names.",
    "# For this session of bash.\nsource <(calicoctl completion bash)\n\n"
    "# For every session of zsh.\ncalicoctl completion zsh > /usr/local/share/zsh/site-functions/_calicoctl",
    least=1,
    most=1,
)

_BASH = r"""# bash completion for calicoctl
__calicoctl_complete() {
    local -a answer=()
    local directive line
    while IFS= read -r line; do answer+=("${line%%$'\t'*}"); done \
        < <(calicoctl __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [ ${#answer[@]} -gt 0 ] || return
    directive="${answer[${#answer[@]}-1]}"
    unset "answer[${#answer[@]}-1]"
    COMPREPLY=("${answer[@]}")
    if [ ${#COMPREPLY[@]} -eq 0 ] && [ "$directive" = ":0" ]; then
        compopt -o default 2>/dev/null
    elif [ ${#COMPREPLY[@]} -eq 1 ] && [ "${COMPREPLY[0]%=}" != "${COMPREPLY[0]}" ]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F __calicoctl_complete calicoctl
"""

_ZSH = r"""#compdef calicoctl
compdef _calicoctl calicoctl
_calicoctl() {
    local -a answer suggestions
    local directive line tab=$'\t'
    answer=("${(@f)$(calicoctl __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    directive="${answer[-1]}"
    for line in "${(@)answer[1,-2]}"; do
        suggestions+=("${${line%%$tab*}//:/\\:}:${${line#*$tab}#$line}")
    done
    if (( ${#suggestions} )); then
        _describe 'calicoctl' suggestions
    elif [[ "$directive" == ":0" ]]; then
        _files
    fi
}
if [ "$funcstack[1]" = "_calicoctl" ]; then _calicoctl; fi
"""

_FISH = r"""# fish completion for calicoctl
function __calicoctl_complete
    set -l line (commandline -opc) (commandline -ct)
    set -l answer (calicoctl __complete $line[2..-1] 2>/dev/null)
    if test (count $answer) -eq 1; and test "$answer[1]" = ":0"
        __fish_complete_path (commandline -ct)
    else if test (count $answer) -gt 1
        printf '%s\n' $answer[1..-2]
    end
end
complete -c calicoctl -f -a '(__calicoctl_complete)'
"""

_POWERSHELL = r"""# powershell completion for calicoctl
Register-ArgumentCompleter -Native -CommandName 'calicoctl' -ScriptBlock {
    param($WordToComplete, $CommandAst, $CursorPosition)
    $words = @($CommandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.StartOffset -lt $CursorPosition } | ForEach-Object { "$_" })
    if ($WordToComplete -eq '') { $words += '""' }
    $answer = @(Invoke-Expression "calicoctl __complete $words" 2>$null)
    $answer | Select-Object -SkipLast 1 | ForEach-Object {
        $text, $about = $_ -split "`t", 2
        if (-not $about) { $about = $text }
        [System.Management.Automation.CompletionResult]::new($text, $text, 'ParameterValue', $about)
    }
}
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH, "powershell": _POWERSHELL}


def run(terminal: Terminal) -> None:
    shell = terminal.words.plain[0]
    if shell not in _SCRIPTS:
        raise Failure(f'invalid argument "{shell}" for "calicoctl completion": it is none of {", ".join(SHELLS)}')
    terminal.write(_SCRIPTS[shell])
