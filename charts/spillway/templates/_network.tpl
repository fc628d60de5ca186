{{/* Refuses what is no network of egress.cidrs: the operator would refuse it at its start, and the schema cannot reckon. */}}
{{- define "spillway.network" -}}
{{- $octet := "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])" -}}
{{- $groups := "([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?" -}}
{{- $v4 := regexMatch (printf "^(%s[.]){3}%s/(3[0-2]|[12]?[0-9])$" $octet $octet) . -}}
{{- $v6 := regexMatch (printf "^(%s::%s|([0-9a-f]{1,4}:){7}[0-9a-f]{1,4})/(12[0-8]|1[01][0-9]|[1-9]?[0-9])$" $groups $groups) . -}}
{{- $address := splitList "/" . | first -}}
{{- $prefix := splitList "/" . | last -}}
{{- $stated := include "spillway.groups" $address | splitList " " -}}
{{- if not (or $v4 (and $v6 (eq (len $stated) 8))) -}}
{{- fail (printf "egress.cidrs: %s is no network such as 203.0.113.0/24 or 2001:db8::/32" .) -}}
{{- end -}}
{{- $size := ternary 8 16 $v4 -}}
{{- $left := int $prefix -}}
{{- $network := list -}}
{{- $beyond := 0 -}}
{{- range $stated -}}
{{- $unit := 1 -}}
{{- range until (int (sub $size (min $size $left))) -}}
{{- $unit = mul $unit 2 -}}
{{- end -}}
{{- $left = max 0 (sub $left $size) -}}
{{- $rest := mod (int64 .) $unit -}}
{{- $beyond = add $beyond $rest -}}
{{- $network = append $network (printf (ternary "%d" "%x" $v4) (sub (int64 .) $rest)) -}}
{{- end -}}
{{- if $beyond -}}
{{- $whole := printf "%s/%s" (join (ternary "." ":" $v4) $network) $prefix -}}
{{- fail (printf "egress.cidrs: %s has bits beyond its prefix: write %s, or %s/%d for the one address" . $whole $address (ternary 32 128 $v4)) -}}
{{- end -}}
{{- end }}

{{/* The groups of an address, as numbers between blanks: the four of 10.0.0.0, the eight of 2001:db8::. */}}
{{- define "spillway.groups" -}}
{{- $groups := list -}}
{{- if contains ":" . -}}
{{- $zeros := sub 8 (len (regexFindAll "[0-9a-f]+" . -1)) -}}
{{- range $index, $half := splitList "::" . -}}
{{- if $index -}}
{{- range until (int (max 1 $zeros)) -}}
{{- $groups = append $groups "0" -}}
{{- end -}}
{{- end -}}
{{- range regexFindAll "[0-9a-f]+" $half -1 -}}
{{- $groups = append $groups (printf "0x%s" .) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $groups = splitList "." . -}}
{{- end -}}
{{- join " " $groups -}}
{{- end }}
