# SPDX-License-Identifier: Apache-2.0
# Completion of mist(1) for bash. Names are asked from the gateway.

_mist_names() # NOUN MEMBER
{
	timeout 2 mist "$1" list --json 2>/dev/null | grep -o "\"$2\": *\"[^\"]*\"" | sed 's/.*"\([^"]*\)"$/\1/'
}

_mist_names_of() # NOUN
{
	case $1 in
	jobs) _mist_names jobs jobId ;;
	artifacts) timeout 2 mist artifacts list --json 2>/dev/null | grep -o '"[^"]*"' | tr -d '"' ;;
	*) _mist_names "$1" name ;;
	esac
}

_mist()
{
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' verb='' i
	local nouns='functions contexts workers jobs artifacts' names=''
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-u | --url | -c | --context | -t | --timeout | -P | --priority | -x | --external-id | -k | --idempotency-key) ((i++)) ;;
		-s | --status | -F | --function | -l | --limit | -O | --offset | -L | --level | -p | --prefix | --tail) ((i++)) ;;
		-*) ;;
		*)
			if [ -z "$command" ]; then
				command=${COMP_WORDS[i]}
			elif [ -z "$verb" ]; then
				verb=${COMP_WORDS[i]}
			fi
			;;
		esac
	done
	case $before in
	-f | --file) [ "$command" != apply ] || { mapfile -t COMPREPLY < <(compgen -f -- "$word") && return; } ;;
	-c | --context) names=$(_mist_names contexts name) ;;
	-s | --status) names='initialized queued job-file-downloading started cancelling finished cancelled failed' ;;
	-L | --level) names='debug info warn error' ;;
	-F | --function) names=$(_mist_names functions name) ;;
	-u | --url | -t | --timeout | -l | --limit | -p | --prefix | -P | --priority | -x | --external-id | -k | --idempotency-key | -O | --offset | --tail)
		return ;;
	esac
	if [ -z "$names" ] && [[ $word = -* ]]; then
		names='--url --json --yes --help --version'
		case $command in
		run | submit) names+=' --context --timeout --priority --external-id --idempotency-key' ;;
		wait) names+=' --timeout' ;;
		logs) names+=' --follow --level' ;;
		workers) names+=' --follow --tail' ;;
		jobs) names+=' --status --function --context --external-id --limit --offset' ;;
		artifacts) names+=' --force' ;;
		apply) names+=' --file --dry-run --prefix' ;;
		esac
	elif [ -z "$names" ]; then
		case $command in
		'') names="status $nouns store apply run submit wait logs cancel" ;;
		store) [ -n "$verb" ] || names='check show drop' ;;
		run | submit) [ -n "$verb" ] || names=$(_mist_names functions name) ;;
		wait | logs | cancel) [ -n "$verb" ] || names=$(_mist_names jobs jobId) ;;
		functions | contexts | workers | jobs | artifacts)
			case $verb in
			'') names='list show delete' && { [ "$command" != artifacts ] || names+=' get put'; } && { [ "$command" != workers ] || names+=' output'; } ;;
			put) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
			show | delete | get | output) names=$(_mist_names_of "$command") ;;
			esac
			;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$names" -- "$word")
}

complete -F _mist mist
