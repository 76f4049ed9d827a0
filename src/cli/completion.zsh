#compdef mist
# SPDX-License-Identifier: Apache-2.0
# Completion of mist(1) for zsh. Names are asked from the gateway.

_mist_names() # NOUN
{
	local -a names
	case $1 in
	jobs) names=(${(f)"$(_call_program names timeout 2 mist jobs list --json 2>/dev/null | grep -o '"jobId": *"[^"]*"' | sed 's/.*"\([^"]*\)"$/\1/')"}) ;;
	artifacts) names=(${(f)"$(_call_program names timeout 2 mist artifacts list --json 2>/dev/null | grep -o '"[^"]*"' | tr -d '"')"}) ;;
	*) names=(${(f)"$(_call_program names timeout 2 mist $1 list --json 2>/dev/null | grep -o '"name": *"[^"]*"' | sed 's/.*"\([^"]*\)"$/\1/')"}) ;;
	esac
	compadd -a names
}

_mist_noun() # NOUN
{
	local -a verbs
	if ((CURRENT == 2)); then
		verbs=('list:all of them' 'show:one of them' 'delete:delete, stop or cancel one')
		[[ $1 != workers ]] || verbs+=('output:what one printed')
		[[ $1 != artifacts ]] || verbs+=('get:fetch one' 'put:send a file')
		_describe verb verbs
	elif ((CURRENT == 3)) && [[ $words[2] = put ]]; then
		_files
	elif ((CURRENT == 3)); then
		_mist_names $1
	elif ((CURRENT == 4)) && [[ $words[2] = get ]]; then
		_files
	fi
}

_mist()
{
	local curcontext=$curcontext state line
	local -a commands common
	common=(
		'(-u --url)'{-u,--url}'[the gateway]:address:'
		'(-j --json)'{-j,--json}'[print the JSON of the gateway]'
		'(-y --yes)'{-y,--yes}'[ask nothing]'
		'(-h --help)'{-h,--help}'[help]'
		'(-V --version)'{-V,--version}'[the version]'
	)
	commands=(
		'status:what the gateway says of itself'
		'functions:functions the gateway can run'
		'contexts:contexts that functions run in'
		'workers:processes that run jobs'
		'jobs:jobs, the latest first'
		'artifacts:files that the gateway keeps for functions'
		'store:what the gateway could not read of what it keeps'
		'apply:bring artifacts, contexts and functions to what files say'
		'run:run a function, and print its result'
		'submit:start a job, and print its id'
		'wait:wait for the end of a job, and print its result'
		'logs:print the log of a job'
		'cancel:cancel a job'
	)
	_arguments -C $common '1:command:->command' '*::argument:->argument'
	case $state in
	command) _describe command commands ;;
	argument)
		case $words[1] in
		functions | contexts) _mist_noun $words[1] ;;
		workers)
			if [[ $words[CURRENT] = -* || $words[CURRENT-1] = (-n|--tail) ]]; then
				_arguments $common '(-f --follow)'{-f,--follow}'[until the worker has ended]' '(-n --tail)'{-n,--tail}'[the last lines]:number:'
			else
				_mist_noun workers
			fi
			;;
		artifacts)
			if [[ $words[CURRENT] = -* ]]; then
				_arguments $common '(-o --force)'{-o,--force}'[although functions use it, or would not load any more]'
			else
				_mist_noun artifacts
			fi
			;;
		store) _arguments $common '1:verb:(check show drop)' '2:id:' ;;
		jobs)
			if [[ $words[CURRENT] = -* || $words[CURRENT-1] = (-s|--status|-l|--limit|-O|--offset|-F|--function|-c|--context|-x|--external-id) ]]; then
				_arguments $common '(-l --limit)'{-l,--limit}'[at most so many]:number:' \
					'(-O --offset)'{-O,--offset}'[without the latest]:number:' \
					'(-F --function)'{-F,--function}'[only of this one]:function:{_mist_names functions}' \
					'(-c --context)'{-c,--context}'[only in this one]:context:{_mist_names contexts}' \
					'(-x --external-id)'{-x,--external-id}'[only with this one]:external id:' \
					'(-s --status)'{-s,--status}'[only these]:status:_sequence compadd - initialized queued job-file-downloading started cancelling finished cancelled failed'
			else
				_mist_noun jobs
			fi
			;;
		apply)
			_arguments $common '(-f --file)'{-f,--file}'[a file, or every *.conf below a folder]:file:_files' \
				'(-n --dry-run)'{-n,--dry-run}'[do nothing]' '(-p --prefix)'{-p,--prefix}'[before every name]:user:'
			;;
		run | submit)
			_arguments $common '(-c --context)'{-c,--context}'[not its own]:context:{_mist_names contexts}' \
				'(-t --timeout)'{-t,--timeout}'[cancel it after]:time:' '(-P --priority)'{-P,--priority}'[-100 to 100]:number:' \
				'(-x --external-id)'{-x,--external-id}'[a name of your own]:external id:' \
				'(-k --idempotency-key)'{-k,--idempotency-key}'[the same key is the same job]:key:' '1:function:{_mist_names functions}' '*:argument:'
			;;
		wait) _arguments $common '(-t --timeout)'{-t,--timeout}'[at most]:time:' '1:job:{_mist_names jobs}' ;;
		logs)
			_arguments $common '(-f --follow)'{-f,--follow}'[until the job ends]' \
				'(-L --level)'{-L,--level}'[this and above]:level:(debug info warn error)' '1:job:{_mist_names jobs}'
			;;
		cancel) _arguments $common '1:job:{_mist_names jobs}' ;;
		esac
		;;
	esac
}

_mist "$@"
