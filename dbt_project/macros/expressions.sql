{# The id form of a name: lower case, every run of other characters one underscore. Same as nextbest.source.slug. #}
{% macro slug(name) -%}
    trim(regexp_replace(lower({{ name }}), '[^a-z0-9]+', '_', 'g'), '_')
{%- endmacro %}


{# Money is exact until the marts: sums do not depend on the order of their rows. #}
{% macro money(amount) -%}
    cast({{ amount }} as decimal(18, 4))
{%- endmacro %}


{# A part of a whole; 0 where there is no whole. #}
{% macro share(part, whole) -%}
    case when {{ whole }} > 0 then {{ part }} / {{ whole }} else 0 end
{%- endmacro %}


{# The position of a value in its order, from 1; 0 where it is unknown. #}
{% macro ordinal(value, order) -%}
    case {{ value }}
        {%- for each in order %} when '{{ each }}' then {{ loop.index }}{% endfor %} else 0
    end
{%- endmacro %}


{# Sum of `expression` over the `days` days before the spine's midnight. Expects relations `spine` and `history`. #}
{% macro window_sum(expression, days) -%}
    sum(case when spine.as_of_day <= history.day + {{ days }} then {{ expression }} else 0 end)
{%- endmacro %}


{# Days from the newest of `day` to the spine's midnight; the documented default where there is none. #}
{% macro days_since(day) -%}
    coalesce(any_value(spine.as_of_day) - max({{ day }}), {{ var('never_days') }})
{%- endmacro %}


{# The last midnight features are computed for. #}
{% macro as_of_day() -%}
    cast('{{ var("as_of") or run_started_at.strftime("%Y-%m-%d") }}' as date)
{%- endmacro %}


{# A moment as clocks show it in a time zone; where that is unknown, in UTC. #}
{% macro at_home(moment, time_zone) -%}
    timezone(coalesce({{ time_zone }}, 'UTC'), {{ moment }})
{%- endmacro %}
